"""Relaying: finding the messages that are due in documents, and taking them out."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from outbox.connections import Update
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

#: What is read of a document with a failed message.
FAILED = {"outbox.partition": 1} | {
    f"outbox.pending.{name}": 1
    for name in ("event_id", "type", "topic", "sequence", "attempts", "last_error")
}


#: The changes that bring messages, of a change stream: a save sets the version, and what relays do
#: to a document doesn't. And what is to be known of each.
COMMITS: Document = {
    "$or": [
        {"operationType": "insert", "fullDocument.outbox.pending.0": {"$exists": True}},
        {
            "operationType": "update",
            "updateDescription.updatedFields.version": {"$exists": True},
        },
    ]
}
COMMITTED: Document = {
    "ns.coll": 1,
    "documentKey._id": 1,
    "updateDescription.updatedFields": 1,
    "partition": "$fullDocument.outbox.partition",
    # After an update, the full document is as it is by now.
    "inserted": {
        "$cond": [{"$eq": ["$operationType", "insert"]}, "$fullDocument.outbox.pending", "$$REMOVE"]
    },
}


def committed(change: Document) -> Document | None:
    """What `DUE` would have read of the document right after a commit of `COMMITS`.

    None if messages were waiting in it before, which the change doesn't tell of; or if it isn't
    known in which partition the document is.
    """
    if "updateDescription" in change:
        # The field as a whole only if it was empty before; else what was added to it.
        pending = change["updateDescription"]["updatedFields"].get("outbox.pending")
    else:
        pending = change.get("inserted")
    if not isinstance(pending, list) or committed_in(change) is None:
        return None
    return {"_id": change["documentKey"]["_id"], "outbox": {"pending": pending}}


def committed_in(change: Document) -> int | None:
    """The partition of the document that was committed; None if it isn't known."""
    found = change.get("partition")
    return found if isinstance(found, int) else None


def partition(document: Document) -> int:
    """The partition that a document says it is in."""
    found: int = document["outbox"]["partition"]
    return found


def pending(document: Document) -> list[Document]:
    """The messages that wait in a document, in order."""
    found: list[Document] = document["outbox"]["pending"]
    return found


def size(document: Document) -> int:
    """The characters of payload that wait in a document."""
    payloads = (entry.get("payload") for entry in pending(document) if isinstance(entry, dict))
    return sum(len(one) for one in payloads if isinstance(one, str))


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


def envelope_or_none(aggregate_id: str, entry: Document) -> Envelope | None:
    """The envelope of one pending message; None if nobody here wrote it and nobody can read it."""
    try:
        return envelope(aggregate_id, entry)
    except (KeyError, TypeError):
        return None


def pull(aggregate_ids: list[str], event_ids: list[str]) -> Update:
    """Filter and update that take published messages out of their documents, however often run."""
    return (
        {"_id": {"$in": aggregate_ids}},
        {"$pull": {"outbox.pending": {"event_id": {"$in": event_ids}}}},
    )


def postpone(
    aggregate_id: str, left: Sequence[Document], until: datetime, failure: str | None = None
) -> Update:
    """Filter and update that let a document's messages wait until its first is due again.

    With `failure`, the first has just failed: its attempt is counted. All those behind it are put
    off with it; else their due times would bring the document back at once, to no end but to
    stand in the way of others. `left` is what is in the document, as far as is known: one that
    has been added since brings it back once. Does nothing if the first is no longer the first, or
    if somebody wants it tried again since.
    """
    attempts = left[0].get("attempts")
    sets: Document = {}
    if failure is not None:
        sets = {"outbox.pending.0.last_error": failure}
        sets["outbox.pending.0.attempts"] = (attempts or 0) + 1
    return (
        {
            "_id": aggregate_id,
            "outbox.pending.0.event_id": left[0].get("event_id"),
            "outbox.pending.0.attempts": attempts,
        },
        {
            **({"$set": sets} if sets else {}),
            "$max": {f"outbox.pending.{i}.due_at": until for i in range(len(left))},
        },
    )


def failed(attempts: int) -> Document:
    """The filter for documents with a message that has failed at least so often."""
    return {"outbox.pending.attempts": {"$gte": attempts}}


def release(
    aggregate_id: str, entries: Sequence[Document], now: datetime, more: Document | None = None
) -> Update:
    """Filter and update that make a document's messages due, as if they had never been tried.

    And set what is in `more` as well. Does nothing if the first is no longer the first.
    """
    sets = {f"outbox.pending.{i}.due_at": now for i in range(len(entries))} | (more or {})
    unsets = {f"outbox.pending.{i}.attempts": "" for i in range(len(entries))}
    return (
        {"_id": aggregate_id, "outbox.pending.0.event_id": entries[0].get("event_id")},
        {"$set": sets, "$unset": unsets},
    )


def bury(aggregate_id: str, entries: Sequence[Document], position: int, now: datetime) -> Update:
    """Filter and update that make a tombstone of the message at `position`: id and number stay.

    The first is due now, and so are those that have waited for it. Does nothing if the first is no
    longer the first.
    """
    entry = f"outbox.pending.{position}"
    tombstone = {f"{entry}.payload": "null", f"{entry}.metadata.discarded": True}
    if position == 0:
        return release(aggregate_id, entries, now, tombstone)
    first = {"outbox.pending.0.event_id": entries[0].get("event_id")}
    return {"_id": aggregate_id, **first}, {"$set": tombstone}


def is_tombstone(entry: Document) -> bool:
    """Whether it stands in for a message that was discarded."""
    return bool(entry.get("metadata", {}).get("discarded", False))
