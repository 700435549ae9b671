"""Showing: a whole document, taken apart for people to look at."""

import re
from dataclasses import dataclass

from outbox.document import RESERVED, Document, relaying, saving

#: What a list shows of an aggregate: its own fields.
LISTED = {"outbox": 0}

#: What the page of an aggregate leaves with the server.
LOADED = {"outbox.answers": 0, "outbox.pending.payload": 0}

#: How the embedded inbox marks a repeatable command (see `saving`).
FINGERPRINT = re.compile(r"#[0-9a-f]{64}$")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A document's parts: the aggregate's own `fields`, and what the outbox keeps beside them.

    `handled` are the ids of the commands and events that have changed it, the last one last.
    """

    aggregate_id: str
    version: int
    fields: Document
    sequences: dict[str, int]
    handled: list[str]
    pending: list[Document]
    partition: int | None


def parts(document: Document) -> Parts:
    """Take a document apart. Raises `NotAdoptable` for one in which the outbox can't live."""
    version, outbox = saving.version_of(document), document.get("outbox", {})
    return Parts(
        aggregate_id=document["_id"],
        version=version,
        fields={name: value for name, value in document.items() if name not in RESERVED},
        sequences=outbox.get("sequences", {}),
        handled=[FINGERPRINT.sub("", entry) for entry in outbox.get("handled", [])],
        pending=relaying.pending(document) if "pending" in outbox else [],
        partition=outbox.get("partition"),
    )
