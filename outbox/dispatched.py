"""The archive of dispatched messages: kept for `OUTBOX_RETENTION`, then expired by MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import IndexModel, WriteConcern
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from outbox.envelope import Envelope

COLLECTION = "outbox_dispatched"

#: The TTL index; its seconds come from `OUTBOX_RETENTION` (see `indexes`).
TTL_INDEX = "outbox_retention"

# Event ids are UUIDv7, so that _id is the order of time in every index.
INDEXES = [
    IndexModel([("aggregate_id", 1), ("_id", -1)], name="outbox_aggregate"),
    IndexModel([("topic", 1), ("_id", -1)], name="outbox_topic"),
    IndexModel([("type", 1), ("_id", -1)], name="outbox_type"),
]

DUPLICATE_KEY = 11000


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
        if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
            raise


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
