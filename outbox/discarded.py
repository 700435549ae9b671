"""Discarded messages: those that people gave up before they were published.

    outbox_discarded  {_id: event id, collection, aggregate_id, type, version, topic, sequence,
                       occurred_at, payload, metadata, attempts?, last_error?,
                       discarded_at, discarded_by, reason}

Kept for `OUTBOX_RETENTION`; for good if that is None.
"""

from datetime import datetime
from typing import Any

from pymongo import IndexModel

from outbox import connections
from outbox.connections import Document

COLLECTION = "outbox_discarded"
TTL_INDEX = "outbox_discarded_retention"
INDEXES = [IndexModel([("aggregate_id", 1), ("_id", -1)], name="outbox_discarded_aggregate")]


def keep(
    collection: str, aggregate_id: str, entry: Document, *, at: datetime, by: str, reason: str
) -> None:
    """Keep a pending message as it is; one that is kept already stays as it was then."""
    fields: dict[str, Any] = {
        name: value for name, value in entry.items() if name not in {"event_id", "due_at"}
    }
    connections.collection(COLLECTION).update_one(
        {"_id": entry["event_id"]},
        {
            "$setOnInsert": {
                **fields,
                "collection": collection,
                "aggregate_id": aggregate_id,
                "discarded_at": at,
                "discarded_by": by,
                "reason": reason,
            }
        },
        upsert=True,
    )
