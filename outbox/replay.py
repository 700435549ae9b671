"""Replay: publishes messages of the archive again, as they were.

A replayed message has its own id, number and time, so that a subscriber that has handled it takes
it for a repeat, and one that never got it handles it in its turn. Its metadata says `replay`: when
the replay began, by the server's clock. An aggregate's messages come in the order of their numbers,
whatever the clocks were of those who wrote them.

All functions raise `StoreUnavailable` and `MissingIndex`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

import pymongo

from outbox import connections, dispatched, message_store, publishers
from outbox.connections import Document
from outbox.discovery import topics
from outbox.envelope import Envelope, timestamp
from outbox.errors import BrokerUnavailable, MessagingError, PublishError, StoreUnavailable
from outbox.mapping import TOPIC
from outbox.message_store import DispatchedMessage, Selection

#: Messages that are read and published at a time.
PAGE = 500
#: Messages that a preview shows.
SAMPLES = 5
#: Seconds that the server may take to count or to sort all that is selected.
LOOKING = 120.0

#: Which messages of the archive: what is selected, or those of these ids.
Wanted = Selection | Sequence[str]


class Preview(NamedTuple):
    """How many messages are selected, and the oldest few of them, without their payloads.

    `left`: there are more, and these are as many as were to be counted.
    """

    total: int
    samples: list[DispatchedMessage]
    left: bool = False


class Replayed(NamedTuple):
    """How many messages were published, and what their metadata says of the `replay`."""

    published: int
    replay: str


def preview(wanted: Wanted, *, to: str | None = None, most: int | None = None) -> Preview:
    """What `replay` would publish; changes nothing. Raises `MessagingError` as that does.

    With `most` it counts to that, and looks at no more of the archive than can be waited for.
    """
    _refuse_clash(wanted, to)
    if most is not None and isinstance(wanted, Selection):
        total, samples, is_all = dispatched.counted(wanted, most, SAMPLES)
        return Preview(total, samples, left=not is_all)
    where, hint = _where(wanted)
    oldest: list[Document] = [{"$match": where}, {"$sort": {"_id": 1}}, {"$limit": SAMPLES}]
    with _time_to_look():
        counted = message_store.rows(
            dispatched.COLLECTION, [{"$match": where}, {"$count": "total"}], hint
        )
        rows = message_store.rows(dispatched.COLLECTION, [*oldest, dispatched.SHOWING], hint)
    total = counted[0]["total"] if counted else 0
    return Preview(total, [DispatchedMessage(**row) for row in rows])


def oldest(wanted: Wanted, most: int) -> list[str]:
    """The ids of those messages that the archive has, the oldest first; `most` of them."""
    where, hint = _where(wanted)
    stages: list[Document] = [
        {"$match": where},
        {"$sort": {"_id": 1}},
        {"$limit": most},
        {"$project": {"_id": 1}},
    ]
    with connections.store_errors():
        return [row["_id"] for row in message_store.rows(dispatched.COLLECTION, stages, hint)]


def replay(
    wanted: Wanted,
    *,
    to: str | None = None,
    progress: Callable[[int], object] = lambda published: None,
) -> Replayed:
    """Publish what is wanted, to its own topic or to the topic `to`; what is archived by now.

    `progress` is told how many have been published. Raises `MessagingError` if they can't go to
    `to`, and `PublishError`, `BrokerUnavailable` or `StoreUnavailable` when it has to stop: nothing
    is tried again by itself. Doing it all again is harmless, since ids and numbers are the same.
    """
    _refuse_clash(wanted, to)
    publisher, published = publishers.configured(), 0
    began = timestamp(message_store.now())
    try:
        for page in _pages(wanted):
            envelopes = [_replayed(one, began, to) for one in page]
            groups = [list(group) for _, group in groupby(envelopes, attrgetter("aggregate_id"))]
            # Dying here, or anywhere: some are published and some aren't, as after an error.
            outcomes = publisher.publish(groups)
            published += sum(outcome.published for outcome in outcomes)
            progress(published)
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
    except (PublishError, BrokerUnavailable, StoreUnavailable) as error:
        known = "message is" if published == 1 else "messages are"
        raise type(error)(
            f"The replay stopped; {published:,} {known} known to be published. {error} "
            "Run it again when that is mended: consumers pass over what they have handled."
        ) from error
    return Replayed(published, began)


def _refuse_clash(wanted: Wanted, to: str | None) -> None:
    """Numbers count per aggregate and topic: in a topic that has others, these would clash."""
    topic = wanted.topic if isinstance(wanted, Selection) else None
    if to is None or to == topic:
        return
    if not TOPIC.fullmatch(to):
        raise MessagingError(f"{to!r} can't be a topic.")
    if topic is None:
        raise MessagingError(
            f"Select one topic to replay to {to}: an aggregate's messages are numbered in each "
            "topic, and the numbers of two would clash."
        )
    if to in topics():
        raise MessagingError(
            f"{to} has messages of its own, whose numbers these would clash with: choose a topic "
            "that nothing is published to."
        )


def _where(wanted: Wanted) -> tuple[Document, str | None]:
    """The filter, and the index to follow; what this doesn't serve is looked at in the messages."""
    if not isinstance(wanted, Selection):
        return {"_id": {"$in": list(wanted)}}, "_id_"
    where, then, hint = dispatched.selected(wanted)
    return {**where, **then}, hint


def _pages(wanted: Wanted) -> Iterator[list[Document]]:
    """Entries of the archive, sorted by aggregate, topic and number.

    The server sorts, with its disk if need be; only places in the order, so that it has little to
    sort, and whole messages are read a page at a time.
    """
    where, hint = _where(wanted)
    stages: list[Document] = [
        {"$match": where},
        {"$project": {"aggregate_id": 1, "topic": 1, "sequence": 1}},
        {"$sort": {"aggregate_id": 1, "topic": 1, "sequence": 1, "_id": 1}},
    ]
    archive = connections.collection(dispatched.COLLECTION)
    options: dict[str, Any] = {"allowDiskUse": True, "batchSize": PAGE}
    if hint is not None:
        options["hint"] = hint
    with _time_to_look():
        places = archive.aggregate(stages, **options)
    with places:
        while True:
            with connections.store_errors():
                if not (ids := [place["_id"] for place in islice(places, PAGE)]):
                    return
                found = {one["_id"]: one for one in archive.find({"_id": {"$in": ids}})}
            # Some may have expired since they were sorted.
            yield [found[one] for one in ids if one in found]


@contextmanager
def _time_to_look() -> Iterator[None]:
    """For queries that take as long as much is selected."""
    with connections.store_errors():
        # If the server is away, that shows within the usual time.
        connections.database().list_collection_names()
        with pymongo.timeout(LOOKING):
            yield


def _replayed(entry: Document, began: str, to: str | None) -> Envelope:
    known = {name: entry[name] for name in Envelope._fields if name != "event_id"}
    if to is not None:
        known["topic"] = to
    known["metadata"] = {**entry["metadata"], "replay": began}
    return Envelope(event_id=entry["_id"], **known)
