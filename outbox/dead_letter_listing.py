"""Dead letters, read for people to look at: what `dead_letters` keeps, as a part of the store.

All functions raise `StoreUnavailable` and `MissingIndex`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pymongo import IndexModel

from outbox import connections, message_store
from outbox.connections import Document
from outbox.message_store import MOST_NAMES, Enveloped, Page, Selection

COLLECTION = "outbox_dead_letters"

DEAD, REPLAYING, REPLAYED, DISCARDED = "dead", "replaying", "replayed", "discarded"

_STATE, _SUBSCRIBER = "outbox_dead_letter_state", "outbox_dead_letter_subscriber"

#: What a term is compared with. A dead letter is rare: these cost nobody anything.
_BY_TERM = ("aggregate_id", "event_id", "correlation_id", "type")

INDEXES = [
    IndexModel([("state", 1), ("failed_at", -1)], name=_STATE),
    IndexModel([("subscriber", 1), ("state", 1), ("failed_at", -1)], name=_SUBSCRIBER),
    *(
        IndexModel([(name, 1), ("failed_at", -1)], name=f"outbox_dead_letter_by_{name}")
        for name in _BY_TERM
    ),
    IndexModel([("error_type", 1)], name="outbox_dead_letter_by_error_type"),
]


@dataclass(frozen=True, kw_only=True)
class DeadLetter(Enveloped):
    """An event that a subscriber couldn't handle. Listings leave out `text` and `traceback`.

    What isn't an event at all has an `event_id`, which is its place, and no more of an event's.
    """

    key: str
    subscriber: str
    state: str
    topic: str
    stream: str
    event_id: str
    type: str = ""
    aggregate_id: str = ""
    sequence: int | None = None
    correlation_id: str = ""
    text: str = ""
    error: str
    error_type: str
    traceback: str = ""
    attempts: int
    first_failed_at: datetime
    failed_at: datetime
    closed_at: datetime | None = None
    closed_by: str = ""
    reason: str = ""


#: What a list shows; the rest may be long.
_SHOWN = dict.fromkeys(DeadLetter.__dataclass_fields__.keys() - {"key", "text", "traceback"}, 1)


def messages(
    selection: Selection | None = None,
    *,
    skip: int = 0,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[DeadLetter]:
    """Dead letters, those that failed last first; the dead ones, unless another state is asked for.

    `cursor` is that of a page before. Raises `InvalidCursor` as well.
    """
    chosen = selected(selection or Selection())
    with connections.store_errors():
        return message_store.by_time(
            COLLECTION,
            chosen,
            "failed_at",
            -1,
            _read,
            _SHOWN,
            skip=skip,
            limit=limit,
            cursor=cursor,
        )


def message(key: str) -> DeadLetter | None:
    """One dead letter of any state, in full; None if there is none of this key (any more)."""
    with connections.store_errors():
        found = connections.collection(COLLECTION).find_one({"_id": {"$eq": key}})
    return _read(found) if found else None


def named(keys: Iterable[str]) -> list[DeadLetter]:
    """Those of these keys that there are, of whatever state: one request."""
    with connections.store_errors():
        found = connections.collection(COLLECTION).find({"_id": {"$in": list(keys)}}, _SHOWN)
        return [_read(row) for row in found]


def of_event(event_id: str) -> list[DeadLetter]:
    """The dead letters of one event, of whatever state: one for each subscriber that gave it up."""
    with connections.store_errors():
        found = connections.collection(COLLECTION).find({"event_id": {"$eq": event_id}}, _SHOWN)
        in_order = found.sort("failed_at", -1).limit(MOST_NAMES)
        return [_read(row) for row in in_order.hint("outbox_dead_letter_by_event_id")]


def keys(selection: Selection, most: int | None = None) -> Iterator[str]:
    """The keys of the selected, the oldest failure first; `most` of them, or all."""
    where, then, hint = selected(selection)
    stages: list[Document] = [
        {"$match": where},
        {"$sort": {"failed_at": 1}},
        *([{"$match": then}] if then else []),
        *([{"$limit": most}] if most else []),
        {"$project": {"_id": 1}},
    ]
    with connections.store_errors():
        for row in message_store.rows(COLLECTION, stages, hint):
            yield row["_id"]


def count(selection: Selection, most: int | None = None) -> int:
    """How many are selected, counted to `most`."""
    where, then, hint = selected(selection)
    stages: list[Document] = [
        {"$match": where},
        *([{"$match": then}] if then else []),
        *([{"$limit": most}] if most else []),
        {"$count": "total"},
    ]
    with connections.store_errors():
        found = message_store.rows(COLLECTION, stages, hint)
    return int(found[0]["total"]) if found else 0


def error_types() -> list[str]:
    """The classes of errors that dead letters were given up for: one seek each."""
    with connections.store_errors():
        return sorted(connections.collection(COLLECTION).distinct("error_type"))[:MOST_NAMES]


def selected(selection: Selection) -> tuple[Document, Document, str | None]:
    """The filter that an index serves by time of failure, what is left to filter, and a hint."""
    where: Document = {"state": {"$eq": selection.state or DEAD}}
    names = ("topic", "type", "error_type", "aggregate_id")
    given = {name: getattr(selection, name) for name in names}
    then: Document = {name: {"$eq": one} for name, one in given.items() if one is not None}
    hint: str | None = _STATE
    if selection.subscriber is not None:
        where["subscriber"], hint = {"$eq": selection.subscriber}, _SUBSCRIBER
    if times := message_store.between(selection.since, selection.until):
        where["failed_at"] = times
    if term := selection.term:
        # Each by its own index; the server merges what comes off them. The rest is looked at.
        branches = [{name: {"$eq": term}} for name in _BY_TERM]
        return {"$or": branches}, {**then, **where}, None
    if "aggregate_id" in then:
        name = {"aggregate_id": then.pop("aggregate_id")}
        return name, {**then, **where}, "outbox_dead_letter_by_aggregate_id"
    return where, then, hint


def _read(row: Document) -> DeadLetter:
    known = {name: value for name, value in row.items() if name in DeadLetter.__dataclass_fields__}
    return DeadLetter(key=row["_id"], **known)
