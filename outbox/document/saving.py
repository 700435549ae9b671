"""Saving: the one insert or update that stores an aggregate together with its messages."""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

from bson import encode

from outbox import connections
from outbox.conf import conf
from outbox.context import MessageContext, new_id
from outbox.document import Document
from outbox.errors import AlreadyHandled, MessageIdReused, NotAdoptable, OutboxFull
from outbox.mapping import Outgoing

#: Events that a document remembers of each consumer, beside those that it hasn't noted.
CONSUMED = 20

#: Types of which equal values are the same BSON; of floats, 0.0 and -0.0 aren't.
UNCHANGING = frozenset((str, int, bool, type(None)))

#: What loading an aggregate leaves with the server.
LOADED = {"outbox.pending": 0, "outbox.answers": 0}


class Stored(NamedTuple):
    """What is known of an aggregate's stored document: its own fields, and the outbox's state."""

    #: Each field as it can be held against what it is later, see `_fingerprints`.
    fields: dict[str, Any]
    partition: int
    sequences: dict[str, int]
    handled: list[str]
    consumed: dict[str, list[str]]
    #: False for a document that had no outbox yet when it was loaded.
    adopted: bool = True


def partition_of(aggregate_id: str) -> int:
    """The partition of a document that has none yet."""
    return crc32(aggregate_id.encode()) % conf.PARTITIONS


def version_of(document: Document) -> int:
    """The version of a stored document: 0 if it was never saved through the outbox.

    Raises `NotAdoptable` for a document of other origin in which the outbox can't live.
    """
    version, outbox = document.get("version") or 0, document.get("outbox", {})
    if not isinstance(document["_id"], str):
        reason = f"its _id is {type(document['_id']).__name__}, and ids must be strings"
    elif not isinstance(version, int) or isinstance(version, bool):
        reason = f"its field `version` is {version!r}, and not a whole number"
    elif not isinstance(outbox, dict):
        reason = "its field `outbox` is not the outbox's"
    else:
        return version
    raise NotAdoptable(f"The document {document['_id']!r} can't be used: {reason}.")


def stored(document: Document, fields: Document) -> Stored:
    """What is known of `document`, whose aggregate has `fields`."""
    outbox = document.get("outbox", {})
    return Stored(
        fields=_fingerprints(fields),
        partition=outbox.get("partition", partition_of(document["_id"])),
        sequences=outbox.get("sequences", {}),
        handled=outbox.get("handled", []),
        consumed=outbox.get("consumed", {}),
        adopted="partition" in outbox,
    )


def refuse_repeat(aggregate_id: str, outbox: Document, context: MessageContext) -> None:
    """Raise if the message of `context` is among the handled ones, or has the id of another."""
    message_id = context.message_id
    # In those of all consumers: a topic that is spread over others moves events between streams.
    for entry in chain(outbox.get("handled", ()), *outbox.get("consumed", {}).values()):
        # An id may have a `#` of its own: others publish events too.
        if message_id is None or not (entry == message_id or entry.startswith(f"{message_id}#")):
            continue
        fingerprint = entry[len(message_id) + 1 :]
        if context.fingerprint is not None and fingerprint != context.fingerprint:
            raise MessageIdReused(f"{message_id} has been used before, for a different message.")
        raise AlreadyHandled(aggregate_id, message_id)


def insert(
    aggregate_id: str,
    fields: Document,
    messages: Iterable[Outgoing],
    at: datetime,
    context: MessageContext,
) -> tuple[Document, Stored]:
    """The document of a new aggregate, and what will be known of it once it is stored."""
    if not isinstance(aggregate_id, str):
        raise TypeError(f"An aggregate's id is a string, not {aggregate_id!r}.")
    pending, sequences = _pending(messages, {}, at, context)
    after = Stored(
        fields=_fingerprints(fields),
        partition=partition_of(aggregate_id),
        sequences=sequences,
        handled=_handled(context),
        consumed=_consumed({}, context),
    )
    outbox: Document = {
        "partition": after.partition,
        "sequences": sequences,
        "pending": pending,
        "handled": after.handled,
    }
    if after.consumed:
        outbox["consumed"] = after.consumed
    if context.fingerprint is not None:
        outbox["answers"] = [_answer(context, 1, fields)]
    return {"_id": aggregate_id, "version": 1, **fields, "outbox": outbox}, after


def guard(aggregate_id: str, version: int, update: Document) -> Document:
    """The filter that lets an update through only if nobody has saved since `version`.

    And, if it brings messages, only if there is room for them: a broker that is away for too long
    must be told of in time, and not by the server's refusal of a document of over 16 MiB.
    """
    new = pushed(update)
    # A document that was never saved through the outbox has no version; 0 stands for that.
    where: Document = {"_id": aggregate_id, "version": version or {"$in": [None, 0]}}
    if new:
        where[f"outbox.pending.{conf.MAX_PENDING - len(new)}"] = {"$exists": False}
    if new and not connections.is_in_process():  # mongomock knows neither this nor a limit
        size = {"$bsonSize": "$$ROOT"}
        where["$expr"] = {"$lte": [size, conf.MAX_DOCUMENT_SIZE - len(encode(update))]}
    return where


def pushed(update: Document) -> list[Document]:
    """The new messages of an update, or of a new document."""
    if "outbox" in update:
        new: list[Document] = update["outbox"]["pending"]
    else:
        new = update.get("$push", {}).get("outbox.pending", {}).get("$each", [])
    return new


def refuse_if_full(aggregate_id: str, document: Document, update: Document) -> None:
    """Raise `OutboxFull` if a document, as it is stored, has no room for what an update brings."""
    new = pushed(update)
    if not new:
        return
    waiting = len(document.get("outbox", {}).get("pending", ()))
    if waiting + len(new) > conf.MAX_PENDING:
        what = f"OUTBOX_MAX_PENDING is {conf.MAX_PENDING}"
    elif len(encode(document)) + len(encode(update)) > conf.MAX_DOCUMENT_SIZE:
        what = f"OUTBOX_MAX_DOCUMENT_SIZE is {conf.MAX_DOCUMENT_SIZE} bytes"
    else:
        return
    raise OutboxFull(
        f"{aggregate_id} has no room for {len(new)} more messages beside the {waiting} that wait "
        f"to be published ({what}): is the relay running, and the broker there?"
    )


def update(
    version: int,
    before: Stored,
    fields: Document,
    messages: Iterable[Outgoing],
    at: datetime,
    context: MessageContext,
) -> tuple[Document, Stored]:
    """The one update that saves an aggregate, and what will be known of it afterwards.

    Sets the fields that changed since `before` and unsets those that went. Fields of the document
    that the aggregate doesn't know are left alone.
    """
    pending, sequences = _pending(messages, before.sequences, at, context)
    fresh = [entry for entry in _handled(context) if entry not in before.handled]
    now = _fingerprints(fields)
    sets = {k: v for k, v in fields.items() if before.fields.get(k) != now[k]}
    sets |= {
        f"outbox.sequences.{k}": v for k, v in sequences.items() if before.sequences.get(k) != v
    }
    if not before.adopted:
        sets["outbox.partition"] = before.partition
    sets["version"] = version + 1
    consumed = _consumed(before.consumed, context)
    # Set, not pushed: what may be dropped, the consumer knows; and nobody has saved in between.
    sets |= {f"outbox.consumed.{key}": ids for key, ids in consumed.items()}
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
        fields=now,
        partition=before.partition,
        sequences=sequences,
        handled=before.handled + fresh,
        consumed=before.consumed | consumed,
    )
    return {operator: change for operator, change in changes.items() if change}, after


def answered(document: Document, message_id: str) -> Document | None:
    """The aggregate's document as the message with this id left it; None if not remembered."""
    for answer in document.get("outbox", {}).get("answers", ()):
        if answer["id"] == message_id:
            return {"_id": document["_id"], "version": answer["version"], **answer["fields"]}
    return None


def _fingerprints(fields: Document) -> dict[str, Any]:
    """Of each field, what is equal only if its BSON is; what differs may be the same to BSON.

    That is the BSON itself, so that a value which the aggregate changes in place is seen to differ;
    or the value, with its type (1 equals True), where it can't be changed.
    """
    return {
        name: (type(value), value) if type(value) in UNCHANGING else encode({name: value})
        for name, value in fields.items()
    }


def _pending(
    messages: Iterable[Outgoing], sequences: dict[str, int], at: datetime, context: MessageContext
) -> tuple[list[Document], dict[str, int]]:
    """The messages as they wait in the document, and the sequences once they are given out."""
    sequences, metadata, entries = dict(sequences), context.metadata(), []
    for topic, message, occurred_at in messages:
        sequences[topic] = sequences.get(topic, 0) + 1
        entries.append(
            {
                "event_id": new_id(),
                "type": message.message_name,
                "version": message.message_version,
                "topic": topic,
                "sequence": sequences[topic],
                # Whatever its zone and precision, BSON makes it UTC and milliseconds.
                "occurred_at": occurred_at or at,
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


def _consumed(before: dict[str, list[str]], context: MessageContext) -> dict[str, list[str]]:
    """What a document remembers of the consumer whose command this is, if that changes."""
    inbox, event_id = context.inbox, context.message_id
    if inbox is None or event_id is None:
        return {}
    known = before.get(inbox.key, [])
    if event_id in known:
        return {}
    older, recent = known[: 1 - CONSUMED], known[1 - CONSUMED :]
    return {inbox.key: [one for one in older if one in inbox.unsettled] + recent + [event_id]}


def _answer(context: MessageContext, version: int, fields: Document) -> Document:
    return {"id": context.message_id, "version": version, "fields": fields}
