"""The message store: the messages that the outbox keeps, for people and tools to look at.

Hohpe and Woolf's Message Store; `pending`, `dispatched`, `waiting` and `dead_letters` are its
parts. A listing is bounded, whatever the size of the collections: it follows an index, rather
raises `MissingIndex` than scan, and reaches no further than `REACH`. What is searched for is
compared by equality, as text.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from outbox import clock, connections
from outbox.connections import Document
from outbox.errors import InvalidCursor

#: How many messages of the archive, dead letters, or aggregates with pending messages a listing
#: looks at.
REACH = 5000

#: How many are looked at to count those that match what no index serves, for who waits for it.
LOOKED_AT = 25_000

#: The archive's collection (see `dispatched`).
ARCHIVE = "outbox_dispatched"

#: Names of types, or of errors, that there are to choose from at most.
MOST_NAMES = 100

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which messages: those for which all that is given holds.

    One for all lists; what a list doesn't know stays as it is here. Times are aware.
    """

    #: Exactly an aggregate id, an event id, a correlation id or a type.
    term: str = ""
    aggregate_id: str | None = None
    topic: str | None = None
    type: str | None = None
    #: Of pending messages "stuck", "failed" (at least once) or "untried"; of waiting events "tried"
    #: (at least once) or "untried"; of dead letters "dead" (which None stands for), "replaying",
    #: "replayed" or "discarded".
    state: str | None = None
    #: Waiting events and dead letters only.
    subscriber: str | None = None
    #: Dead letters only.
    error_type: str | None = None
    #: Inclusive and exclusive; when the event occurred, was put aside, or the dead letter failed.
    since: datetime | None = None
    until: datetime | None = None


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

    @property
    def key(self) -> str:
        """Where it lies, so that it needs no search; the aggregate id may hold anything."""
        return f"{self.event_id}/{self.collection}/{self.aggregate_id}"


@dataclass(frozen=True, kw_only=True)
class DispatchedMessage(StoredMessage):
    """A message that the broker has."""

    dispatched_at: datetime


class Enveloped:
    """What has an event's `text` as it lay on the stream, and reads it only when asked."""

    text: str

    @property
    def envelope(self) -> Any:
        """The event as it lay on the stream, parsed; None if that can't be done."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def payload(self) -> str:
        """The event's payload as JSON text; the whole text where there is no such thing."""
        found = self.envelope
        for name in ("payload", "data"):  # ours, and CloudEvents'
            if isinstance(found, dict) and name in found:
                return json.dumps(found[name], ensure_ascii=False)
        return self.text

    @property
    def metadata(self) -> dict[str, Any]:
        """What the envelope says beside the event, if it says anything."""
        found = self.envelope
        known = found.get("metadata") if isinstance(found, dict) else None
        return known if isinstance(known, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Page(Generic[M]):
    """A part of a listing; `partial` says that the listing ends at `REACH` and leaves some out.

    `next` is the cursor of the page after this one, None on the last.
    """

    messages: list[M]
    has_more: bool = False
    partial: bool = False
    next: str | None = None


def now() -> datetime:
    """The server's time, by which messages are due. Raises `StoreUnavailable`."""
    with connections.store_errors():
        return clock.now(connections.database())


def page(
    found: list[M],
    skip: int,
    limit: int,
    reaches_past: Callable[[], bool],
    cursor: Callable[[list[M]], str] | None = None,
) -> Page[M]:
    """The page after `skip` messages; `found` holds one more than `limit` if there is another.

    `reaches_past` is asked only if there isn't; `cursor` of the messages that the page has, if
    there is.
    """
    more, ends = len(found) > limit, skip + limit >= REACH
    partial = ends if more else reaches_past()
    has_more = more and not ends
    return Page(
        messages=found[:limit],
        has_more=has_more,
        partial=partial,
        next=cursor(found[:limit]) if cursor and has_more else None,
    )


def by_time(
    collection: str,
    chosen: tuple[Document, Document, str | None],
    time: str,
    direction: int,
    read: Callable[[Document], M],
    shown: Document,
    *,
    skip: int,
    limit: int,
    cursor: str | None,
) -> Page[M]:
    """A page of documents in the order of a `time` that they have, as `read` makes them.

    `chosen` is the filter that an index serves in that order, what is left to filter, and a hint;
    `direction` is 1 or -1, `shown` the fields to read. What is read has a `key`, and the time.
    `cursor` is that of a page before. Raises `InvalidCursor`; and what pymongo raises.
    """
    where, then, hint = chosen
    last = ""
    if cursor is not None:
        begin, skip, last = decode_cursor(cursor, datetime, int, str)
        where = _from(where, time, "$gte" if direction > 0 else "$lte", begin)
    wanted = skip + limit + 1
    stages: list[Document] = [
        {"$match": where},
        {"$sort": {time: direction}},
        {"$limit": REACH if then else min(REACH, wanted)},
        *([{"$match": then}] if then else []),
        {"$limit": wanted},
        {"$project": shown},
    ]
    found = [read(row) for row in rows(collection, stages, hint)]
    if last:
        # If it is gone: rather some of those of its time twice than one never.
        places = (i for i, one in enumerate(found, 1) if getattr(one, "key", None) == last)
        skip = next(places, 0)

    def following(shown: list[M]) -> str:
        """Where the next page begins: at the time of the last one, behind that one."""
        moments = [getattr(one, time) for one in found[: skip + len(shown)]]
        return encode_cursor(moments[-1], moments.count(moments[-1]), getattr(shown[-1], "key", ""))

    return page(
        found[skip:],
        skip,
        limit,
        lambda: bool(then or wanted > REACH) and reaches_past(collection, where, hint),
        following,
    )


def _from(where: Document, time: str, operator: str, begin: datetime) -> Document:
    """The filter `where`, for what lies at a time or behind it: each of its branches."""
    if "$or" in where:
        return {"$or": [_from(branch, time, operator, begin) for branch in where["$or"]]}
    return {**where, time: {**where.get(time, {}), operator: begin}}


def types() -> list[str]:
    """The types of dispatched messages: one seek each. Raises `StoreUnavailable`."""
    with connections.store_errors():
        return sorted(connections.collection(ARCHIVE).distinct("type"))[:MOST_NAMES]


def rows(collection: str, stages: list[Document], hint: str | None = None) -> list[Document]:
    """What a pipeline brings."""
    options: dict[str, Any] = {} if hint is None else {"hint": hint}
    return list(connections.database()[collection].aggregate(stages, **options))


def reaches_past(
    collection: str, where: Document, hint: str | None = None, reach: int | None = None
) -> bool:
    """Whether more than `REACH` documents match: looks at one more than that, at most."""
    skip = REACH if reach is None else reach
    found = connections.database()[collection].find(where, {"_id": 1}, skip=skip, limit=1)
    return any(found if hint is None else found.hint(hint))


def between(since: datetime | None, until: datetime | None) -> Document:
    """The filter for a time; empty if neither is given."""
    bounds = {"$gte": since, "$lt": until}
    return {operator: moment for operator, moment in bounds.items() if moment is not None}


def encode_cursor(*position: str | int | datetime) -> str:
    """An opaque cursor, in letters that an address may have."""
    plain = [
        (one - EPOCH) // timedelta(milliseconds=1) if isinstance(one, datetime) else one
        for one in position
    ]
    return urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> list[Any]:
    """The position that `encode_cursor` was given, of these `kinds`. Raises `InvalidCursor`."""
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        plain = json.loads(urlsafe_b64decode(padded))
        if not isinstance(plain, list) or len(plain) != len(kinds):
            raise InvalidCursor
        return [_decoded(one, kind) for one, kind in zip(plain, kinds, strict=True)]
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidCursor from error


def _decoded(value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, str):
        value.encode()  # half a character is no text
        return value
    if kind is str or isinstance(value, bool) or not isinstance(value, int):
        raise InvalidCursor
    if not 0 <= value < 2**53:
        raise InvalidCursor
    return EPOCH + timedelta(milliseconds=value) if kind is datetime else value
