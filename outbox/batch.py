"""A batch: the messages that are due in some documents of a partition, from find to pull.

Three requests to MongoDB, whatever it holds: one to read, one insert into the archive, one update.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.read_concern import ReadConcern

from outbox import backoff, clock, connections, dispatched, document, signals
from outbox.conf import conf
from outbox.document import Document, relaying
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers.base import Outcome

logger = logging.getLogger(__name__)

#: A batch ends after the document that brings it to this many messages, whatever is waiting.
MESSAGES = 5000

#: And after the one that brings it to this many characters of payload: what a relay holds in memory
#: is bounded, however large the documents are.
SIZE = 16_000_000

#: Batches that one find is read for: more of it would outlast the time that a request may take.
BATCHES = 10

#: Processes know the server's clock to some milliseconds. A relay that looks this far ahead
#: doesn't pass over the message that a wake has just announced.
CLOCK_TOLERANCE = timedelta(milliseconds=500)


#: Seconds after which a refusal is told again that goes on.
REMIND_AFTER = 60.0

#: Different refusals that are remembered as told.
TOLD = 1000
_told: dict[tuple[int, str], float] = {}


@dataclass
class Batch:
    """Documents of one partition, and of each the messages that may be published now."""

    #: When it was begun to be read, by the server's clock.
    began: datetime
    documents: list[Document] = field(default_factory=list)
    groups: list[list[Envelope]] = field(default_factory=list)
    #: Of each document, what is wrong with the message that its group ends before.
    flaws: list[PublishError | None] = field(default_factory=list)
    #: Documents that are due for a later message than their first: they wait for the first.
    blocked: list[Document] = field(default_factory=list)
    #: Whether the same find goes on behind this one.
    goes_on: bool = False
    #: Whether there may be more for another find.
    full: bool = False

    def add(self, stored: Document, now: datetime) -> list[Envelope]:
        """Add a document; what may be published of it."""
        group, flaw = relaying.due_envelopes(stored, now)
        if group or flaw:
            self.documents.append(stored)
            self.groups.append(group)
            self.flaws.append(flaw)
        else:
            self.blocked.append(stored)
        return group


def horizon(documents: Collection[Document]) -> datetime:
    """The time up to which a message counts as due."""
    return clock.now(documents.database) + CLOCK_TOLERANCE


def find(documents: Collection[Document], where: Document, what: Document, limit: int) -> Any:
    """Documents with something pending, the longest due first, as a majority of the set has them.

    What a failover could still take back is not published.
    """
    majority = documents.with_options(read_concern=ReadConcern("majority"))
    found = majority.find(where, what, limit=limit, batch_size=min(limit, conf.BATCH))
    return found.hint(document.DUE_INDEX)


def read(documents: Collection[Document], partition: int) -> Generator[Batch]:
    """What is due in a partition, by one find, batch after batch; nothing if nothing is due.

    No document is in two of them, whatever happens to it meanwhile, so that a batch may be read
    while the one before is settled. The last one says whether another find is worth its while.
    """
    began = clock.now(documents.database)
    most = conf.BATCH
    now, limit, found = began + CLOCK_TOLERANCE, BATCHES * most, 0
    batch, messages, size = Batch(began), 0, 0
    with find(documents, relaying.due(now, partition), relaying.DUE, limit) as cursor:
        for stored in cursor:
            count = len(batch.documents) + len(batch.blocked)
            if count == most or messages >= MESSAGES or size >= SIZE:
                batch.goes_on = True
                yield batch
                batch, messages, size = Batch(clock.now(documents.database)), 0, 0
            found += 1
            group = batch.add(stored, now)
            messages += len(group)
            size += sum(len(envelope.payload) for envelope in group)
    if found:
        batch.full = found == limit
        yield batch


def of(documents: Collection[Document], stored: Sequence[Document]) -> Batch:
    """The batch of what is due in documents that are known already, as `read` would have read them.

    Each holds all that waits in it, and is there once.
    """
    batch = Batch(clock.now(documents.database))
    for one in stored:
        batch.add(one, batch.began + CLOCK_TOLERANCE)
    return batch


def _put_off_blocked(documents: Collection[Document], batch: Batch) -> None:
    """Let the blocked documents wait for their first message, so that they aren't found again."""
    connections.update_each(
        documents,
        [
            relaying.postpone(stored["_id"], entries, until=entries[0]["due_at"])
            for stored in batch.blocked
            for entries in [relaying.pending(stored)]
        ],
    )


def settle(documents: Collection[Document], batch: Batch, outcomes: list[Outcome]) -> int:
    """Archive and pull what was published, put off what has to wait; the number published.

    Raises `BrokerUnavailable` after that if the broker went away meanwhile.
    """
    envelopes = [
        envelope
        for group, outcome in zip(batch.groups, outcomes, strict=True)
        for envelope in group[: outcome.published]
    ]
    if envelopes:
        at = clock.now(documents.database)
        # Dying here, or between the two writes: published again, and archived only once.
        archived = conf.RETENTION is not None and _archive(documents, envelopes, at)
        try:
            _pull(documents, batch, envelopes)
        except AutoReconnect:
            # pymongo doesn't repeat an update of many; pulling by event id may be repeated.
            _pull(documents, batch, envelopes)
        signals.messages_published.send_robust(
            documents.name, messages=envelopes, began=batch.began, at=at, archived=archived
        )
    refusals = [
        (stored["_id"], relaying.pending(stored)[outcome.published :], error)
        for stored, outcome, flaw in zip(batch.documents, outcomes, batch.flaws, strict=True)
        if isinstance(error := outcome.error or flaw, PublishError)
    ]
    if refusals:
        _refused(documents, refusals)
    _put_off_blocked(documents, batch)
    for outcome in outcomes:
        if isinstance(outcome.error, BrokerUnavailable):
            # Nobody's fault, nobody's attempt: all that is left stays due.
            raise outcome.error
    return len(envelopes)


def _archive(documents: Collection[Document], envelopes: list[Envelope], at: datetime) -> bool:
    try:
        dispatched.archive(documents.database, documents.name, envelopes, at)
    except OperationFailure as error:
        # The server is there and won't have it (no permission, no room). They are published: not
        # to pull them would publish them again with every sweep.
        logger.error(
            "%s published messages were not archived: %s",
            len(envelopes),
            error,
            extra={"action": "archive", "collection": documents.name},
        )
        return False
    return True


def _pull(documents: Collection[Document], batch: Batch, envelopes: list[Envelope]) -> None:
    where, update = relaying.pull(
        [stored["_id"] for stored in batch.documents],
        [envelope.event_id for envelope in envelopes],
    )
    documents.update_many(where, update)


def _refused(
    documents: Collection[Document], refusals: list[tuple[str, list[Document], PublishError]]
) -> None:
    """Count an attempt of each document's first message that is left, and let all of them wait."""
    now, put_off = horizon(documents), []
    news: Counter[tuple[int, str]] = Counter()
    for aggregate_id, left, error in refusals:
        attempts = left[0].get("attempts", 0) + 1
        is_stuck = attempts == conf.STUCK_AFTER
        message = relaying.envelope_or_none(aggregate_id, left[0])
        what = {"message": message, "attempts": attempts, "error": error}
        signals.message_refused.send_robust(documents.name, **what)
        if is_stuck:
            signals.message_stuck.send_robust(documents.name, **what)
        alike = (logging.ERROR if is_stuck else logging.WARNING, str(error))
        first = _is_news(alike)
        if first or alike in news:
            news[alike] += 1
        logger.log(
            # Who can't publish to a topic can't publish anything to it: one line a minute says so.
            alike[0] if first else logging.DEBUG,
            "Publishing to %s failed%s, attempt %s of event %s (%s, number %s of %s %s): %s",
            left[0].get("topic"),
            ", and is stuck" if is_stuck else "",
            attempts,
            left[0].get("event_id"),
            left[0].get("type"),
            left[0].get("sequence"),
            documents.name,
            aggregate_id,
            error,
            extra={
                "action": "stuck" if is_stuck else "publish",
                "collection": documents.name,
                "event_id": left[0].get("event_id"),
                "aggregate_id": aggregate_id,
                "topic": left[0].get("topic"),
                "attempt": attempts,
            },
        )
        until = now + timedelta(seconds=backoff.delay(attempts))
        put_off.append(relaying.postpone(aggregate_id, left, until, failure=str(error)))
    for (level, error_text), times in news.items():
        if times > 1:
            logger.log(
                level,
                "And %s more in the same way: %s",
                times - 1,
                error_text,
                extra={"action": "publish", "collection": documents.name, "count": times - 1},
            )
    # Dying here: these attempts aren't counted, and come again at once.
    connections.update_each(documents, put_off)


def _is_news(alike: tuple[int, str]) -> bool:
    """Whether nothing like it has been told for a while by this process."""
    now = time.monotonic()
    if now < _told.get(alike, now):
        return False
    if len(_told) >= TOLD:
        _told.clear()
    _told[alike] = now + REMIND_AFTER
    return True
