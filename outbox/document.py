"""The document's shape: the only module that knows where the outbox lies in it.

    { "_id", "version", …the aggregate's own top-level fields…,
      "outbox": {
        "partition": 2,                   crc32(_id) % OUTBOX_PARTITIONS, set once
        "sequences": {"orders": 4},       the last sequence number given out, per topic
        "pending": [ … ],                 in order; being here IS "undispatched"
        "handled": ["…", …],              the embedded inbox: the last ids that had an effect
        "answers": [ … ] } }              the aggregate as repeatable commands left it

The repository only pushes to `pending`, the relay only pulls from it by event id; so neither has to
know what the other did in between, and the document is never replaced as a whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zlib import crc32

from bson import MinKey
from pymongo import IndexModel

from outbox.conf import conf
from outbox.context import MessageContext, new_id
from outbox.envelope import Envelope
from outbox.errors import AlreadyHandled, MessageIdReused
from outbox.messages import IntegrationEvent

Document = dict[str, Any]
Messages = Iterable[tuple[str, IntegrationEvent]]

#: The keys of a document that aren't the aggregate's.
RESERVED = frozenset({"_id", "version", "outbox"})

#: What loading an aggregate leaves with the server.
LOADED = {"outbox.pending": 0, "outbox.answers": 0}

#: Holds only documents with something pending, oldest first within a partition: an idle sweep
#: costs the same at any size, and pulling the last message takes the entry away.
DUE_INDEX = "outbox_due"

INDEXES = [
    IndexModel(
        [("outbox.partition", 1), ("outbox.pending.due_at", 1)],
        name=DUE_INDEX,
        partialFilterExpression={"outbox.pending.due_at": {"$exists": True}},
    )
]


# -- What the repository reads and writes --


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What is known of an aggregate's stored document: its own fields, and the outbox's state."""

    fields: Document
    partition: int
    sequences: dict[str, int] = field(default_factory=dict)
    handled: list[str] = field(default_factory=list)
    #: False for a document that had no outbox yet when it was loaded.
    adopted: bool = True


def partition_of(aggregate_id: str) -> int:
    """The partition of a document that has none yet."""
    return crc32(aggregate_id.encode()) % conf.PARTITIONS


def stored(document: Document, fields: Document) -> Stored:
    """What is known of `document`, whose aggregate has `fields`."""
    outbox = document.get("outbox", {})
    return Stored(
        fields=fields,
        partition=outbox.get("partition", partition_of(document["_id"])),
        sequences=outbox.get("sequences", {}),
        handled=outbox.get("handled", []),
        adopted="partition" in outbox,
    )


def refuse_repeat(aggregate_id: str, handled: Sequence[str], context: MessageContext) -> None:
    """Raise if the message of `context` is among the `handled` ones, or has the id of another."""
    for entry in handled:
        message_id, _, fingerprint = entry.partition("#")
        if message_id != context.message_id:
            continue
        if context.fingerprint is not None and fingerprint != context.fingerprint:
            raise MessageIdReused(f"{message_id} has been used before, for a different message.")
        raise AlreadyHandled(aggregate_id, message_id)


def insert(
    aggregate_id: str, fields: Document, messages: Messages, at: datetime, context: MessageContext
) -> tuple[Document, Stored]:
    """The document of a new aggregate, and what will be known of it once it is stored."""
    pending, sequences = _pending(messages, {}, at, context)
    after = Stored(
        fields=fields,
        partition=partition_of(aggregate_id),
        sequences=sequences,
        handled=_handled(context),
    )
    outbox: Document = {
        "partition": after.partition,
        "sequences": sequences,
        "pending": pending,
        "handled": after.handled,
    }
    if context.fingerprint is not None:
        outbox["answers"] = [_answer(context, 1, fields)]
    return {"_id": aggregate_id, "version": 1, **fields, "outbox": outbox}, after


def guard(aggregate_id: str, version: int) -> Document:
    """The filter that lets a save through only if nobody has saved since `version`."""
    # A document that was never saved through the outbox has no version; 0 stands for that.
    return {"_id": aggregate_id, "version": version or {"$in": [None, 0]}}


def update(
    version: int,
    before: Stored,
    fields: Document,
    messages: Messages,
    at: datetime,
    context: MessageContext,
) -> tuple[Document, Stored]:
    """The one update that saves an aggregate, and what will be known of it afterwards.

    Sets the fields that changed since `before` and unsets those that went. Fields of the document
    that the aggregate doesn't know are left alone.
    """
    pending, sequences = _pending(messages, before.sequences, at, context)
    fresh = [entry for entry in _handled(context) if entry not in before.handled]
    sets = {k: v for k, v in fields.items() if k not in before.fields or before.fields[k] != v}
    sets |= {
        f"outbox.sequences.{k}": v for k, v in sequences.items() if before.sequences.get(k) != v
    }
    if not before.adopted:
        sets["outbox.partition"] = before.partition
    sets["version"] = version + 1
    push: Document = {}
    if pending:
        push["outbox.pending"] = {"$each": pending}
    if fresh:
        push["outbox.handled"] = {"$each": fresh, "$slice": -conf.HANDLED}
    if fresh and context.fingerprint is not None:
        kept = [_answer(context, version + 1, fields)]
        push["outbox.answers"] = {"$each": kept, "$slice": -conf.ANSWERS}
    gone = dict.fromkeys(before.fields.keys() - fields.keys(), "")
    changes = {"$set": sets, "$unset": gone, "$push": push}
    after = Stored(
        fields=fields,
        partition=before.partition,
        sequences=sequences,
        handled=before.handled + fresh,
    )
    return {operator: change for operator, change in changes.items() if change}, after


def answered(document: Document, message_id: str) -> Document | None:
    """The aggregate's document as the message with this id left it; None if not remembered."""
    for answer in document.get("outbox", {}).get("answers", ()):
        if answer["id"] == message_id:
            return {"_id": document["_id"], "version": answer["version"], **answer["fields"]}
    return None


def _pending(
    messages: Messages, sequences: dict[str, int], at: datetime, context: MessageContext
) -> tuple[list[Document], dict[str, int]]:
    """The messages as they wait in the document, and the sequences once they are given out."""
    sequences, metadata, entries = dict(sequences), context.metadata(), []
    for topic, message in messages:
        sequences[topic] = sequences.get(topic, 0) + 1
        entries.append(
            {
                "event_id": new_id(),
                "type": message.message_name,
                "version": message.message_version,
                "topic": topic,
                "sequence": sequences[topic],
                "occurred_at": at,
                "due_at": at,
                "payload": message.payload(),
                "metadata": metadata,
            }
        )
    return entries, sequences


def _handled(context: MessageContext) -> list[str]:
    if context.message_id is None:
        return []
    if context.fingerprint is None:
        return [context.message_id]
    return [f"{context.message_id}#{context.fingerprint}"]


def _answer(context: MessageContext, version: int, fields: Document) -> Document:
    return {"id": context.message_id, "version": version, "fields": fields}


# -- What the relay reads and writes --


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


def due_envelopes(document: Document, now: datetime) -> Iterator[Envelope]:
    """The messages of a document up to the first that is not due: what may be published now."""
    for entry in pending(document):
        if entry["due_at"] > now:
            return
        yield envelope(document["_id"], entry)


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
        {"_id": document["_id"], "outbox.pending.0.event_id": entries[0]["event_id"]},
        {
            **({"$set": sets} if sets else {}),
            "$max": {f"outbox.pending.{i}.due_at": until for i in range(len(entries))},
        },
    )


# -- What the message store reads --

#: Says the same as the partial index, so that the server may use it.
WAITING = {"outbox.pending.due_at": {"$exists": True}}


def waiting(partitions: Iterable[int]) -> Document:
    """The filter for documents with anything pending, in `partitions`: to be read by due time.

    One branch each, so that the server merges them as they come off the index; with `$in` it would
    read and sort them all.
    """
    # With `$exists` the server fetches before it merges, and then, since `pending` is an array,
    # merges in the wrong order (MongoDB 6.0.5). mongomock has no index, and doesn't know MinKey.
    in_process = conf.MONGODB_URI.startswith("mongomock://")
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
