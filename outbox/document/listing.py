"""Listing: reading the messages that wait in documents, for people to look at."""

from collections.abc import Iterable
from datetime import datetime

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


def waiting_in(*aggregate_ids: str) -> Document:
    """The filter for the documents of these aggregates, if anything is pending there."""
    [one] = [*aggregate_ids] if len(aggregate_ids) == 1 else [{"$in": [*aggregate_ids]}]
    return {"_id": one, **WAITING}


def pending_matches(
    *,
    event_id: str | None = None,
    term: str = "",
    topic: str | None = None,
    type: str | None = None,
    least: int = 0,
    untried: bool = False,
    occurred: Document | None = None,
) -> Document:
    """The filter for pending messages, each on its own.

    `term` is an event id, a correlation id or a type; `least` the attempts that have failed at
    least, `occurred` the condition for the time.
    """
    equal = {"event_id": event_id, "topic": topic, "type": type}
    where: Document = {
        f"outbox.pending.{name}": {"$eq": value}
        for name, value in equal.items()
        if value is not None
    }
    if term:
        names = ("event_id", "type", "metadata.correlationId")
        where["$or"] = [{f"outbox.pending.{name}": {"$eq": term}} for name in names]
    if least:
        where["outbox.pending.attempts"] = {"$gte": least}
    if untried:
        where["outbox.pending.attempts"] = {"$eq": None}
    if occurred:
        where["outbox.pending.occurred_at"] = occurred
    return where


#: What a list shows of a message, and what its page shows beside that.
SHOWN = ["event_id", "type", "version", "topic", "sequence", "occurred_at", "due_at"]
SHOWN += ["attempts", "last_error"]
CONTENT = ["payload", "metadata"]


def pending_pipeline(
    where: Document,
    matches: Document,
    *,
    fields: Iterable[str],
    ordered: bool = False,
    reach: int | None = None,
    since: datetime | None = None,
) -> list[Document]:
    """The pipeline from documents to their pending messages, one each, in the order of the array.

    With `ordered`, it begins with the document that has been due the longest: for a filter by which
    they come off an index in that order. With `reach`, it looks at no more documents than that.
    `oldest` is the due time that a document is ordered by; with `since`, only those that have that
    one or a later one.
    """
    stages: list[Document] = [{"$match": where}]
    if ordered:
        stages.append({"$sort": {"outbox.pending.due_at": 1}})
    if reach:
        stages.append({"$limit": reach})
    if matches:
        # Of the document, each on its own: fewer are taken apart.
        stages.append({"$match": matches})
    stages.append({"$addFields": {"oldest": {"$min": "$outbox.pending.due_at"}}})
    if since is not None:
        stages.append({"$match": {"oldest": {"$gte": since}}})
    stages.append({"$unwind": "$outbox.pending"})
    if matches:
        stages.append({"$match": matches})
    shown = {name: f"$outbox.pending.{name}" for name in fields}
    stages.append({"$project": {"_id": 0, "aggregate_id": "$_id", "oldest": "$oldest", **shown}})
    return stages
