"""The archive of dispatched messages: kept for `OUTBOX_RETENTION`, then expired by MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from outbox import connections, message_store
from outbox.connections import Document
from outbox.envelope import Envelope
from outbox.message_store import DispatchedMessage, Page, Selection

COLLECTION = message_store.ARCHIVE

#: The TTL index; its seconds come from `OUTBOX_RETENTION` (see `indexes`).
TTL_INDEX = "outbox_retention"

# Event ids are UUIDv7, so that _id is the order of time in every index.
INDEXES = [
    IndexModel([("aggregate_id", 1), ("_id", -1)], name="outbox_aggregate"),
    IndexModel([("topic", 1), ("_id", -1)], name="outbox_topic"),
    IndexModel([("type", 1), ("_id", -1)], name="outbox_type"),
    # A conversation is looked for when something has gone wrong in it.
    IndexModel([("metadata.correlationId", 1), ("_id", -1)], name="outbox_correlation"),
]

#: The index for each field that is selected by; the first one given is followed.
_BY_FIELD = {"aggregate_id": "outbox_aggregate", "type": "outbox_type", "topic": "outbox_topic"}

#: What a term is compared with.
_BY_TERM = ("aggregate_id", "_id", "metadata.correlationId", "type")

#: What a list shows of a message.
SHOWN = ["type", "version", "topic", "collection", "aggregate_id", "sequence"]
SHOWN += ["occurred_at", "dispatched_at"]
SHOWING: Document = {"$project": {"_id": 0, "event_id": "$_id", **dict.fromkeys(SHOWN, 1)}}


def archive(
    database: Database[Any], collection: str, envelopes: Sequence[Envelope], at: datetime
) -> None:
    """Keep what was published: one request for all of it, and no harm in doing it again."""
    # Waits for a majority, as all that can't be written again does: after the pull, nothing else
    # has what was published. With w=1, a server that died in between would have forgotten some.
    try:
        database[COLLECTION].insert_many(
            [_entry(collection, e, at) for e in envelopes], ordered=False
        )
    except BulkWriteError as error:
        # Published for a second time after a crash: it is in the archive already.
        connections.raise_unless_duplicate(error)


def _entry(collection: str, envelope: Envelope, at: datetime) -> dict[str, Any]:
    return {
        "_id": envelope.event_id,
        "type": envelope.type,
        "version": envelope.version,
        "topic": envelope.topic,
        "collection": collection,
        "aggregate_id": envelope.aggregate_id,
        "sequence": envelope.sequence,
        "occurred_at": envelope.occurred_at,
        "dispatched_at": at,
        "payload": envelope.payload,
        "metadata": envelope.metadata,
    }


def messages(
    selection: Selection | None = None,
    *,
    skip: int = 0,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[DispatchedMessage]:
    """What was published and is still kept, the newest first.

    `cursor` is that of a page before. Raises `StoreUnavailable`, `MissingIndex`, `InvalidCursor`.
    """
    where, then, hint = selected(selection or Selection())
    if cursor is not None:
        [last] = message_store.decode_cursor(cursor, str)
        where = before(where, last)
    stages = _pipeline(where, then, reach=message_store.REACH, skip=skip, limit=limit + 1)
    with connections.store_errors():
        found = [DispatchedMessage(**row) for row in message_store.rows(COLLECTION, stages, hint)]
        return message_store.page(
            found,
            skip,
            limit,
            # With nothing left to filter, all that there is has been found.
            lambda: (
                (bool(then) or skip + limit >= message_store.REACH)
                and message_store.reaches_past(COLLECTION, where, hint)
            ),
            lambda shown: message_store.encode_cursor(shown[-1].event_id),
        )


def message(event_id: str) -> DispatchedMessage | None:
    """One message with its payload; None if it isn't kept (any more). Raises `StoreUnavailable`."""
    stages = _pipeline({"_id": {"$eq": event_id}}, {}, reach=1, limit=1, payload=True)
    with connections.store_errors():
        found = message_store.rows(COLLECTION, stages)
    return DispatchedMessage(**found[0]) if found else None


def conversation(correlation_id: str, most: int) -> list[DispatchedMessage]:
    """The first messages of a conversation, with their metadata.

    Raises `StoreUnavailable`, `MissingIndex`.
    """
    stages: list[Document] = [
        {"$match": {"metadata.correlationId": {"$eq": correlation_id}}},
        {"$sort": {"_id": 1}},
        {"$limit": most},
        {"$project": {"_id": 0, "event_id": "$_id", **dict.fromkeys([*SHOWN, "metadata"], 1)}},
    ]
    with connections.store_errors():
        found = message_store.rows(COLLECTION, stages, "outbox_correlation")
    return [DispatchedMessage(**row) for row in found]


def counted(
    selection: Selection, most: int, samples: int
) -> tuple[int, list[DispatchedMessage], bool]:
    """How many are selected, counted to `most`, the oldest few of these, and if that is all.

    Looks at no more than `LOOKED_AT`: beginning with the newest, where it is said since when, and
    else with the oldest. Raises `StoreUnavailable`, `MissingIndex`.
    """
    where, then, hint = selected(selection)
    matching: list[Document] = [
        {"$match": where},
        {"$sort": {"_id": -1 if selection.since else 1}},
        {"$limit": message_store.LOOKED_AT},
        *([{"$match": then}] if then else []),
        {"$limit": most + 1},
    ]
    oldest: list[Document] = [{"$sort": {"event_id": 1}}, {"$limit": samples}]
    # Both of one look. Without the payloads, since there is a limit to what a facet may hold.
    both = {"totals": [{"$count": "total"}], "oldest": oldest}
    with connections.store_errors():
        [found] = message_store.rows(COLLECTION, [*matching, SHOWING, {"$facet": both}], hint)
        total = found["totals"][0]["total"] if found["totals"] else 0
        is_all = total <= most and not (
            then and message_store.reaches_past(COLLECTION, where, hint, message_store.LOOKED_AT)
        )
    return min(total, most), [DispatchedMessage(**row) for row in found["oldest"]], is_all


def selected(selection: Selection) -> tuple[Document, Document, str | None]:
    """The filter that an index serves in the order of `_id`, what is left to filter, and a hint.

    There is no hint for a term: it has several indexes, whose entries the server merges. Times have
    none: event ids don't stand for them, since an event may say itself when it occurred.
    """
    given = {name: getattr(selection, name) for name in _BY_FIELD}
    equal: Document = {name: {"$eq": one} for name, one in given.items() if one is not None}
    if times := message_store.between(selection.since, selection.until):
        equal["occurred_at"] = times
    if term := selection.term:
        return {"$or": [{name: {"$eq": term}} for name in _BY_TERM]}, equal, None
    for name, index in _BY_FIELD.items():
        if name in equal:
            return {name: equal.pop(name)}, equal, index
    return {}, equal, "_id_"


def before(where: Document, event_id: str) -> Document:
    """The filter `where`, for what lies before an event: each of its branches by its own index."""
    if "$or" in where:
        return {"$or": [before(branch, event_id) for branch in where["$or"]]}
    return {**where, "_id": {**where.get("_id", {}), "$lt": event_id}}


def _pipeline(
    where: Document,
    then: Document,
    *,
    reach: int,
    limit: int,
    skip: int = 0,
    payload: bool = False,
) -> list[Document]:
    """From the newest that match `where` to rows of their fields; `then` needs no index."""
    fields = [*SHOWN, *(["payload", "metadata"] if payload else [])]
    return [
        {"$match": where},
        {"$sort": {"_id": -1}},
        {"$limit": reach},
        *([{"$match": then}] if then else []),
        *([{"$skip": skip}] if skip else []),
        {"$limit": limit},
        {"$project": {"_id": 0, "event_id": "$_id", **dict.fromkeys(fields, 1)}},
    ]
