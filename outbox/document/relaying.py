"""Relaying: finding the messages that are due in documents, and taking them out."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from outbox.document import Document
from outbox.envelope import Envelope
from outbox.errors import PublishError


def due(now: datetime, partition: int | None = None, passing: Iterable[int] = ()) -> Document:
    """The filter for documents with a message due, in `partition` or in any not in `passing`."""
    where: Any = {"$nin": list(passing)} if partition is None else partition
    return {"outbox.partition": where, "outbox.pending.due_at": {"$lte": now}}


#: What the relay reads of a document, and what it reads only to see if there is one.
DUE = {"outbox.pending": 1}
PARTITION = {"outbox.partition": 1}


def partition(document: Document) -> int:
    """The partition that a document says it is in."""
    found: int = document["outbox"]["partition"]
    return found


def pending(document: Document) -> list[Document]:
    """The messages that wait in a document, in order."""
    found: list[Document] = document["outbox"]["pending"]
    return found


def due_envelopes(document: Document, now: datetime) -> tuple[list[Envelope], PublishError | None]:
    """The messages of a document up to the first that is not due: what may be published now.

    With the error that ends them, if one is there that nobody here wrote and nobody can read.
    """
    found: list[Envelope] = []
    for entry in pending(document):
        try:
            if entry["due_at"] > now:
                break
            found.append(envelope(document["_id"], entry))
        except (KeyError, TypeError) as error:
            return found, PublishError(f"It isn't a message: {error!r}")
    return found, None


def envelope(aggregate_id: str, entry: Document) -> Envelope:
    """The envelope of one pending message."""
    return Envelope(
        event_id=entry["event_id"],
        type=entry["type"],
        version=entry["version"],
        topic=entry["topic"],
        aggregate_id=aggregate_id,
        sequence=entry["sequence"],
        occurred_at=entry["occurred_at"],
        payload=entry["payload"],
        metadata=entry["metadata"],
    )


def pull(aggregate_ids: list[str], event_ids: list[str]) -> tuple[Document, Document]:
    """Filter and update that take published messages out of their documents, however often run."""
    return (
        {"_id": {"$in": aggregate_ids}},
        {"$pull": {"outbox.pending": {"event_id": {"$in": event_ids}}}},
    )


def postpone(
    document: Document, until: datetime, failure: str | None = None
) -> tuple[Document, Document]:
    """Filter and update that let a document's messages wait until its first is due again.

    With `failure`, the first has just failed: its attempt is counted. All those behind it are put
    off with it; else their due times would bring the document back at once, to no end but to
    stand in the way of others. Does nothing if the first is no longer the first.
    """
    entries = pending(document)
    sets: Document = {}
    if failure is not None:
        sets = {"outbox.pending.0.last_error": failure}
        sets["outbox.pending.0.attempts"] = entries[0].get("attempts", 0) + 1
    return (
        {"_id": document["_id"], "outbox.pending.0.event_id": entries[0].get("event_id")},
        {
            **({"$set": sets} if sets else {}),
            "$max": {f"outbox.pending.{i}.due_at": until for i in range(len(entries))},
        },
    )
