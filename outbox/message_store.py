"""The message store: the messages that the outbox keeps, for people and tools to look at.

Hohpe and Woolf's Message Store; `pending` and `dispatched` are its two parts. A listing is bounded,
whatever the size of the collections: it follows an index, rather raises `MissingIndex` than scan,
and reaches no further than `REACH`. What is searched for is compared by equality, as text.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from outbox import clock, connections
from outbox.connections import Document

#: How many dispatched messages, or aggregates with pending ones, a listing looks at.
REACH = 5000

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message as it is kept. Listings leave `payload` and `metadata` with the server."""

    event_id: str
    type: str
    version: str
    topic: str
    collection: str
    aggregate_id: str
    sequence: int
    occurred_at: datetime
    payload: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PendingMessage(StoredMessage):
    """A message that waits in its aggregate's document; it may have been tried before."""

    due_at: datetime
    attempts: int = 0
    last_error: str = ""


@dataclass(frozen=True, kw_only=True)
class DispatchedMessage(StoredMessage):
    """A message that the broker has."""

    dispatched_at: datetime


@dataclass(frozen=True, kw_only=True)
class Page(Generic[M]):
    """A part of a listing; `partial` says that the listing ends at `REACH` and leaves some out."""

    messages: list[M]
    has_more: bool = False
    partial: bool = False


def now() -> datetime:
    """The server's time, by which messages are due. Raises `StoreUnavailable`."""
    with connections.store_errors():
        return clock.now(connections.database())


def page(found: list[M], skip: int, limit: int, reaches_past: Callable[[], bool]) -> Page[M]:
    """The page after `skip` messages; `found` holds one more than `limit` if there is another.

    `reaches_past` is asked only if there isn't.
    """
    more, ends = len(found) > limit, skip + limit >= REACH
    partial = ends if more else reaches_past()
    return Page(messages=found[:limit], has_more=more and not ends, partial=partial)


def rows(collection: str, stages: list[Document], hint: str | None = None) -> list[Document]:
    """What a pipeline brings."""
    options: dict[str, Any] = {} if hint is None else {"hint": hint}
    return list(connections.database()[collection].aggregate(stages, **options))


def reaches_past(collection: str, where: Document, hint: str | None = None) -> bool:
    """Whether more than `REACH` documents match: looks at one more than that, at most."""
    found = connections.database()[collection].find(where, {"_id": 1}, skip=REACH, limit=1)
    return any(found if hint is None else found.hint(hint))
