"""Discarded messages: those that people gave up before they were published.

    outbox_discarded  {_id: event id, collection, aggregate_id, type, version, topic, sequence,
                       occurred_at, payload, metadata, attempts?, last_error?,
                       discarded_at, discarded_by, reason}

Kept for `OUTBOX_RETENTION`; for good if that is None.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import IndexModel
from pymongo.errors import BulkWriteError

from outbox import connections
from outbox.connections import Document

COLLECTION = "outbox_discarded"
TTL_INDEX = "outbox_discarded_retention"
INDEXES = [IndexModel([("aggregate_id", 1), ("_id", -1)], name="outbox_discarded_aggregate")]


@dataclass(frozen=True, kw_only=True)
class Discarded:
    """A message that was given up: as it was, and who gave it up, when and why."""

    event_id: str
    collection: str
    aggregate_id: str
    type: str = ""
    version: str = ""
    topic: str = ""
    sequence: int | None = None
    occurred_at: datetime | None = None
    payload: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    last_error: str = ""
    discarded_at: datetime
    discarded_by: str
    reason: str


def message(event_id: str) -> Discarded | None:
    """A message that was given up; None if it wasn't, or isn't kept any more.

    Raises `StoreUnavailable`.
    """
    with connections.store_errors():
        found = connections.collection(COLLECTION).find_one({"_id": {"$eq": event_id}})
    if found is None:
        return None
    known = {name: value for name, value in found.items() if name in Discarded.__dataclass_fields__}
    return Discarded(event_id=found["_id"], **known)


def keep(
    collection: str,
    entries: Iterable[tuple[str, Document]],
    *,
    at: datetime,
    by: str,
    reason: str,
) -> None:
    """Keep pending messages, each with its aggregate's id, as they are: one request.

    One that is kept already stays as it was then.
    """
    kept = [
        {
            "_id": entry["event_id"],
            **{k: v for k, v in entry.items() if k not in {"event_id", "due_at"}},
            "collection": collection,
            "aggregate_id": aggregate_id,
            "discarded_at": at,
            "discarded_by": by,
            "reason": reason,
        }
        for aggregate_id, entry in entries
    ]
    if not kept:
        return
    try:
        connections.collection(COLLECTION).insert_many(kept, ordered=False)
    except BulkWriteError as error:
        connections.raise_unless_duplicate(error)
