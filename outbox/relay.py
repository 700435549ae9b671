"""The relay: publishes the messages that wait in documents, in order, and takes them out.

A polling publisher (Richardson's Message Relay) that leases a partition instead of claiming
documents: each batch is one find, one pipeline to the broker and one update. At least once: what
dies between publishing and pulling is published again, with the same id and sequence number.
"""

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.read_concern import ReadConcern

from outbox import backoff, clock, connections, dispatched, document, publishers
from outbox.conf import conf
from outbox.document import Document
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, MissingIndex, PublishError
from outbox.lease import Lease
from outbox.publishers.base import Outcome, Publisher

logger = logging.getLogger(__name__)

#: A batch ends after the document that brings it to this many messages, whatever is waiting.
BATCH_MESSAGES = 5000

#: Processes know the server's clock to some milliseconds. A relay that looks this far ahead
#: doesn't pass over the message that a wake has just announced.
CLOCK_TOLERANCE = timedelta(milliseconds=500)


@dataclass
class Batch:
    """What one find brought: the documents, and of each the messages that are due."""

    documents: list[Document] = field(default_factory=list)
    groups: list[list[Envelope]] = field(default_factory=list)
    #: Documents that are due for a later message than their first: they wait for the first.
    blocked: list[Document] = field(default_factory=list)
    full: bool = False


class Relay:
    """Relays the messages of one collection.

    Any number of relays may run at once, in threads, processes and hosts: a partition is worked on
    by one at a time, and what another one holds is left to it.
    """

    def __init__(self, collection: str, *, publisher: Publisher | None = None) -> None:
        self.collection = collection
        self._publisher = publisher or publishers.configured()

    def sweep(self) -> int:
        """Publish what is due in every partition; the number of messages published.

        Ends after `OUTBOX_SWEEP_TIME` seconds at the latest. Raises `BrokerUnavailable`,
        `StoreUnavailable` or `MissingIndex`; all that is not published then stays pending.
        """
        ends = time.monotonic() + conf.SWEEP_TIME
        with _errors():
            partitions = list(self._due_partitions())
            # Relays that start at the same moment shouldn't queue up at the same partition.
            random.shuffle(partitions)
            return sum(self._sweep(partition, ends) for partition in partitions)

    def sweep_partition(self, partition: int) -> int:
        """Publish what is due in one partition; the number of messages published."""
        with _errors():
            return self._sweep(partition, time.monotonic() + conf.SWEEP_TIME)

    def _sweep(self, partition: int, ends: float) -> int:
        published = 0
        while time.monotonic() < ends:
            lease = Lease(self._database, f"relay:{self.collection}:{partition}", conf.LEASE)
            if not lease.acquire():
                break
            try:
                published += self._drain(partition, lease, ends)
            finally:
                lease.release()
            # Once more, now that others can have the lease: a commit may have been announced
            # after the last find to a relay that was turned away at the lease.
            if not self._is_due(partition):
                break
        return published

    def _drain(self, partition: int, lease: Lease, ends: float) -> int:
        published = 0
        while time.monotonic() < ends:
            batch = self._read(partition)
            # A relay that was paused since the find must not publish what is another's by now.
            if not lease.keep():
                break
            for blocked in batch.blocked:
                first = document.pending(blocked)[0]
                self._postpone(blocked, first["event_id"], until=first["due_at"])
            if batch.groups:
                published += self._settle(batch, self._publisher.publish(batch.groups))
            if not batch.full:
                break
        return published

    def _read(self, partition: int) -> Batch:
        now = self._horizon()
        batch, messages, found = Batch(), 0, 0
        where = document.due(now, partition)
        with self._find(where, document.DUE, limit=conf.BATCH) as cursor:
            for stored in cursor:
                found += 1
                if group := list(document.due_envelopes(stored, now)):
                    batch.documents.append(stored)
                    batch.groups.append(group)
                    messages += len(group)
                else:
                    batch.blocked.append(stored)
                if messages >= BATCH_MESSAGES:
                    break
        batch.full = found == conf.BATCH or messages >= BATCH_MESSAGES
        return batch

    def _settle(self, batch: Batch, outcomes: list[Outcome]) -> int:
        """Archive and pull what was published, put off what was refused; the number published."""
        envelopes = [
            envelope
            for group, outcome in zip(batch.groups, outcomes, strict=True)
            for envelope in group[: outcome.published]
        ]
        if envelopes:
            # Dying here, or between the two writes: published again, and archived only once.
            if conf.RETENTION is not None:
                at = clock.now(self._database)
                dispatched.archive(self._database, self.collection, envelopes, at)
            self._pull(batch, envelopes)
        away: BrokerUnavailable | None = None
        for stored, outcome in zip(batch.documents, outcomes, strict=True):
            if isinstance(outcome.error, PublishError):
                self._refused(stored, outcome)
            elif outcome.error is not None:
                away = outcome.error
        if away is not None:
            # Nobody's fault, nobody's attempt: all that is left stays due.
            raise away
        return len(envelopes)

    def _pull(self, batch: Batch, envelopes: list[Envelope]) -> None:
        where, update = document.pull(
            [stored["_id"] for stored in batch.documents],
            [envelope.event_id for envelope in envelopes],
        )
        try:
            self._documents.update_many(where, update)
        except AutoReconnect:
            # pymongo doesn't repeat an update of many; pulling by event id may be repeated.
            self._documents.update_many(where, update)

    def _refused(self, stored: Document, outcome: Outcome) -> None:
        """Count the attempt of the message that was refused, and put it off."""
        entries = document.pending(stored)[outcome.published :]
        attempts = entries[0].get("attempts", 0) + 1
        logger.warning(
            "Publishing failed, attempt %s: %s",
            attempts,
            outcome.error,
            extra={
                "action": "publish",
                "event_id": entries[0]["event_id"],
                "aggregate_id": stored["_id"],
                "topic": entries[0]["topic"],
                "attempt": attempts,
            },
        )
        until = self._horizon() + timedelta(seconds=backoff.delay(attempts))
        self._postpone(stored, entries[0]["event_id"], until, failure=str(outcome.error))

    def _postpone(
        self, stored: Document, first: str, until: datetime, failure: str | None = None
    ) -> None:
        # Read again: the document may have been given more messages, and they must wait as well.
        now = self._documents.find_one({"_id": stored["_id"]}, document.DUE)
        if now and any(entry["event_id"] == first for entry in document.pending(now)[:1]):
            self._documents.update_one(*document.postpone(now, until, failure))

    def _due_partitions(self) -> Iterator[int]:
        """The partitions with something due: one seek in the index for each, and one more."""
        passed: list[int] = []
        while True:
            where = document.due(self._horizon(), passing=passed)
            with self._find(where, document.PARTITION, limit=1) as cursor:
                found = next(cursor, None)
            if found is None:
                return
            passed.append(document.partition(found))
            yield passed[-1]

    def _is_due(self, partition: int) -> bool:
        where = document.due(self._horizon(), partition)
        with self._find(where, document.PARTITION, limit=1) as cursor:
            return next(cursor, None) is not None

    def _find(self, where: Document, what: Document, *, limit: int) -> Any:
        # Majority: what a failover could still take back is not published.
        majority = self._documents.with_options(read_concern=ReadConcern("majority"))
        cursor = majority.find(where, what, limit=limit, batch_size=limit)
        return cursor.hint(document.DUE_INDEX)

    def _horizon(self) -> datetime:
        return clock.now(self._database) + CLOCK_TOLERANCE

    @property
    def _database(self) -> Any:
        return self._documents.database

    @property
    def _documents(self) -> Collection[Document]:
        return connections.collection(self.collection)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        with connections.store_errors():
            yield
    except OperationFailure as error:
        if "hint provided" in str(error):
            raise MissingIndex from error
        raise
