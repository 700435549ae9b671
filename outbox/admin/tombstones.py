"""Tombstones in the list of pending messages: which of them were discarded, by whom and why."""

from collections import defaultdict
from collections.abc import Iterable

from outbox import connections, discarded, message_store, pending_query
from outbox.document import Document, listing
from outbox.message_store import PendingMessage


def among(messages: Iterable[PendingMessage]) -> dict[str, Document]:
    """Those of `messages` that are tombstones, by event id: with `discarded_by` and `reason`.

    Empty for one whose message isn't kept any more. A message that is kept but is no tombstone was
    about to be discarded when the process died: it isn't among them. One request. Raises
    `StoreUnavailable`.
    """
    places: dict[str, list[str]] = defaultdict(list)
    ids = []
    for one in messages:
        places[one.collection].append(one.aggregate_id)
        ids.append(one.event_id)
    if not ids:
        return {}
    matches: Document = {
        "outbox.pending.event_id": {"$in": ids},
        "outbox.pending.metadata.discarded": {"$eq": True},
    }
    kept: list[Document] = [
        {"$match": {"_id": {"$in": ids}}},
        {"$project": {"discarded_by": 1, "reason": 1}},
    ]
    with connections.store_errors():
        rows = _rows(places, matches, kept)
    by_id = {row["_id"]: row for row in rows if "_id" in row}
    return {row["event_id"]: by_id.get(row["event_id"], {}) for row in rows if "event_id" in row}


def _rows(places: dict[str, list[str]], matches: Document, kept: list[Document]) -> list[Document]:
    """What is kept of discarded messages, and beside it the tombstones."""
    if connections.is_in_process():  # mongomock knows no $unionWith
        tombstones = pending_query.in_documents(places, matches, ["event_id"])
        return [*message_store.rows(discarded.COLLECTION, kept), *tombstones]
    union: list[Document] = [
        {
            "$unionWith": {
                "coll": name,
                "pipeline": listing.pending_pipeline(
                    listing.waiting_in(*ids), matches, fields=["event_id"]
                ),
            }
        }
        for name, ids in places.items()
    ]
    return message_store.rows(discarded.COLLECTION, [*kept, *union])
