"""The document's shape: the only package that knows where the outbox lies in it.

    { "_id", "version", …the aggregate's own top-level fields…,
      "outbox": {
        "partition": 2,                   crc32(_id) % OUTBOX_PARTITIONS, set once
        "sequences": {"orders": 4},       the last sequence number given out, per topic
        "pending": [ … ],                 in order; being here IS "undispatched"
        "handled": ["…", …],              the embedded inbox: the last ids that had an effect
        "consumed": {"stock:…": ["…"]},   the same by consumer: none that it hasn't noted is missing
        "answers": [ … ] } }              the aggregate as repeatable commands left it

The repository only pushes to `pending`, the relay only pulls from it by event id; so neither has to
know what the other did in between, and the document is never replaced as a whole.

`saving` is what the repository needs of it, `relaying` the relay, and `listing` the message store.
"""

from typing import Any

from pymongo import IndexModel

Document = dict[str, Any]

#: The keys of a document that aren't the aggregate's.
RESERVED = frozenset({"_id", "version", "outbox"})

#: Holds only documents with something pending, oldest first within a partition: an idle sweep
#: costs the same at any size, and pulling the last message takes the entry away.
DUE_INDEX = "outbox_due"

#: Holds only documents whose first message has failed: counting those costs nothing for the rest.
FAILED_INDEX = "outbox_failed"

INDEXES = [
    IndexModel(
        [("outbox.partition", 1), ("outbox.pending.due_at", 1)],
        name=DUE_INDEX,
        partialFilterExpression={"outbox.pending.due_at": {"$exists": True}},
    ),
    IndexModel(
        [("outbox.pending.attempts", 1)],
        name=FAILED_INDEX,
        partialFilterExpression={"outbox.pending.attempts": {"$exists": True}},
    ),
]
