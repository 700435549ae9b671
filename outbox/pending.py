"""Pending messages: those that wait in their aggregates' documents, read for people to look at.

Both functions raise `StoreUnavailable` and `MissingIndex`.
"""

from datetime import datetime
from itertools import chain
from operator import itemgetter

from outbox import connections, document, message_store
from outbox.conf import conf
from outbox.discovery import collections
from outbox.document import Document, listing, relaying
from outbox.message_store import Page, PendingMessage


def messages(
    *, term: str = "", topic: str | None = None, skip: int = 0, limit: int = 50
) -> Page[PendingMessage]:
    """What waits to be published; the aggregate that has been due the longest comes first.

    `term` is the id of an aggregate or, if nothing waits there, the id of an event, or a type.
    """
    wanted = skip + limit + 1
    with connections.store_errors():
        if term:
            where, matches = listing.waiting_in(term), listing.pending_matches(topic=topic)
            here = [one for name in collections() for one in _read(name, where, matches, wanted)]
            if here:
                found = [message for _, message in here[skip:wanted]]
                return message_store.page(found, skip, limit, lambda: False)
        queues = [(name, listing.waiting(_partitions(name))) for name in collections()]
        matches = listing.pending_matches(term=term, topic=topic)
        queued = chain.from_iterable(
            _read(name, where, matches, wanted, queue=True) for name, where in queues
        )
        # A stable sort: messages of one aggregate keep their order.
        ordered = sorted(queued, key=itemgetter(0))[skip:wanted]
        return message_store.page(
            [message for _, message in ordered],
            skip,
            limit,
            lambda: any(
                message_store.reaches_past(name, where, document.DUE_INDEX)
                for name, where in queues
            ),
        )


def message(collection: str, aggregate_id: str, event_id: str) -> PendingMessage | None:
    """One message with its payload; None if it isn't pending (any more)."""
    if collection not in collections():
        return None
    where, matches = listing.waiting_in(aggregate_id), listing.pending_matches(event_id=event_id)
    with connections.store_errors():
        found = _read(collection, where, matches, limit=1, payload=True)
    return found[0][1] if found else None


def _read(
    collection: str,
    where: Document,
    matches: Document,
    limit: int,
    *,
    queue: bool = False,
    payload: bool = False,
) -> list[tuple[datetime, PendingMessage]]:
    """Messages, each with the due time that its document is ordered by."""
    reach = None
    if queue:
        # Each has at least one message, so that more than `limit` aren't needed to fill a page.
        reach = message_store.REACH if matches else min(message_store.REACH, limit)
    stages = listing.pending_pipeline(where, matches, limit=limit, reach=reach, payload=payload)
    hint = document.DUE_INDEX if queue else "_id_"
    return [
        (row.pop("oldest"), PendingMessage(collection=collection, **row))
        for row in message_store.rows(collection, stages, hint)
    ]


def _partitions(collection: str) -> list[int]:
    """The partitions a document may be in, those of an earlier `OUTBOX_PARTITIONS` included."""
    numbers = list(range(conf.PARTITIONS))
    while True:
        where = listing.waiting_elsewhere(numbers)
        found = connections.database()[collection].find(where, relaying.PARTITION, limit=1)
        stray = next(found.hint(document.DUE_INDEX), None)
        if stray is None:
            return numbers
        numbers.append(relaying.partition(stray))
