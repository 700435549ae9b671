"""Listing: reading the messages that wait in documents, for people to look at."""

from collections.abc import Iterable

from bson import MinKey

from outbox import connections
from outbox.document import Document

#: Says the same as the partial index, so that the server may use it.
WAITING = {"outbox.pending.due_at": {"$exists": True}}


def waiting(partitions: Iterable[int]) -> Document:
    """The filter for documents with anything pending, in `partitions`: to be read by due time.

    One branch each, so that the server merges them as they come off the index; with `$in` it would
    read and sort them all.
    """
    # With `$exists` the server fetches before it merges, and then, since `pending` is an array,
    # merges in the wrong order (MongoDB 6.0.5). mongomock has no index, and doesn't know MinKey.
    in_process = connections.is_in_process()
    anything = {"$exists": True} if in_process else {"$gte": MinKey()}
    return {
        "$or": [
            {"outbox.partition": number, "outbox.pending.due_at": anything} for number in partitions
        ]
    }


def waiting_elsewhere(partitions: Iterable[int]) -> Document:
    """The filter for documents with anything pending, in none of `partitions`."""
    return {"outbox.partition": {"$nin": list(partitions)}, **WAITING}


def waiting_in(aggregate_id: str) -> Document:
    """The filter for the document of one aggregate, if anything is pending there."""
    return {"_id": aggregate_id, **WAITING}


def pending_matches(
    *, event_id: str | None = None, term: str = "", topic: str | None = None
) -> Document:
    """The filter for pending messages, each on its own: `term` is an event id or a type."""
    event, kind = "outbox.pending.event_id", "outbox.pending.type"
    where: Document = {} if event_id is None else {event: {"$eq": event_id}}
    if term:
        where["$or"] = [{event: {"$eq": term}}, {kind: {"$eq": term}}]
    if topic is not None:
        where["outbox.pending.topic"] = {"$eq": topic}
    return where


def pending_pipeline(
    where: Document, matches: Document, *, limit: int, reach: int | None = None, payload: bool
) -> list[Document]:
    """The pipeline from documents to their pending messages, one each, in the order of the array.

    With `reach`, it begins with the document that has been due the longest, and looks at no more
    documents than that. `oldest` is the due time that the document was ordered by.
    """
    fields = ["event_id", "type", "version", "topic", "sequence", "occurred_at", "due_at"]
    fields += ["attempts", "last_error", *(["payload", "metadata"] if payload else [])]
    ordered: list[Document] = []
    if reach:
        ordered = [{"$sort": {"outbox.pending.due_at": 1}}, {"$limit": reach}]
    return [
        {"$match": where},
        *ordered,
        {"$addFields": {"oldest": {"$min": "$outbox.pending.due_at"}}},
        {"$unwind": "$outbox.pending"},
        {"$match": matches},
        {"$limit": limit},
        {
            "$project": {
                "_id": 0,
                "aggregate_id": "$_id",
                "oldest": "$oldest",
                **{name: f"$outbox.pending.{name}" for name in fields},
            }
        },
    ]
