"""The archive of dispatched messages: kept for `OUTBOX_RETENTION`, then expired by MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import IndexModel, WriteConcern
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from outbox import connections, message_store
from outbox.connections import Document
from outbox.envelope import Envelope
from outbox.message_store import DispatchedMessage, Page

COLLECTION = "outbox_dispatched"

#: The TTL index; its seconds come from `OUTBOX_RETENTION` (see `indexes`).
TTL_INDEX = "outbox_retention"

# Event ids are UUIDv7, so that _id is the order of time in every index.
INDEXES = [
    IndexModel([("aggregate_id", 1), ("_id", -1)], name="outbox_aggregate"),
    IndexModel([("topic", 1), ("_id", -1)], name="outbox_topic"),
    IndexModel([("type", 1), ("_id", -1)], name="outbox_type"),
]


def archive(
    database: Database[Any], collection: str, envelopes: Sequence[Envelope], at: datetime
) -> None:
    """Keep what was published: one request for all of it, and no harm in doing it again."""
    # w=1 is enough: the pull that follows waits for a majority, and whatever has its oplog entry
    # has this one, which lies before it.
    dispatched = database.get_collection(COLLECTION, write_concern=WriteConcern(1))
    try:
        dispatched.insert_many([_entry(collection, e, at) for e in envelopes], ordered=False)
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
    *, term: str = "", topic: str | None = None, skip: int = 0, limit: int = 50
) -> Page[DispatchedMessage]:
    """What was published and is still kept, the newest first.

    `term` is an aggregate id, an event id or a type. Raises `StoreUnavailable`, `MissingIndex`.
    """
    where, then, hint = _selection(term, topic)
    stages = _pipeline(where, then, reach=message_store.REACH, skip=skip, limit=limit + 1)
    with connections.store_errors():
        found = [DispatchedMessage(**row) for row in message_store.rows(COLLECTION, stages, hint)]
        return message_store.page(
            found, skip, limit, lambda: message_store.reaches_past(COLLECTION, where, hint)
        )


def message(event_id: str) -> DispatchedMessage | None:
    """One message with its payload; None if it isn't kept (any more). Raises `StoreUnavailable`."""
    stages = _pipeline({"_id": {"$eq": event_id}}, {}, reach=1, limit=1, payload=True)
    with connections.store_errors():
        found = message_store.rows(COLLECTION, stages)
    return DispatchedMessage(**found[0]) if found else None


def _selection(term: str, topic: str | None) -> tuple[Document, Document, str | None]:
    """The filter that an index serves in the order of `_id`, what is left to filter, and a hint.

    There is no hint for a term: it has three indexes, whose entries the server merges.
    """
    in_topic: Document = {} if topic is None else {"topic": {"$eq": topic}}
    if term:
        fields = ("aggregate_id", "_id", "type")
        return {"$or": [{name: {"$eq": term}} for name in fields]}, in_topic, None
    return in_topic, {}, "outbox_topic" if in_topic else "_id_"


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
    fields = ["type", "version", "topic", "collection", "aggregate_id", "sequence"]
    fields += ["occurred_at", "dispatched_at", *(["payload", "metadata"] if payload else [])]
    return [
        {"$match": where},
        {"$sort": {"_id": -1}},
        {"$limit": reach},
        *([{"$match": then}] if then else []),
        *([{"$skip": skip}] if skip else []),
        {"$limit": limit},
        {"$project": {"_id": 0, "event_id": "$_id", **dict.fromkeys(fields, 1)}},
    ]
