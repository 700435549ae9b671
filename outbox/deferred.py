"""Deferred events: those a subscriber has taken off the stream and can't handle yet.

An event is deferred that failed and waits for its next attempt; that comes too early, since one
before it is missing or deferred; or that is replayed from the dead letters. Kept in MongoDB:

    outbox_deferred  {_id: "subscriber:topic:aggregate id:number", subscriber, stream, topic,
                      aggregate_id, sequence, event_id, type, text, attempts, due_at, since, early?,
                      begun?, last_error?, error_before?, alerted?, replays?}

`outbox.waiting` shows them to people, and has use for `event_id`, `type` and `error_before`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pymongo import IndexModel
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from outbox import clock, connections, delivery
from outbox.connections import Document
from outbox.delivery import Delivery

COLLECTION = "outbox_deferred"

INDEXES = [
    IndexModel([("subscriber", 1), ("stream", 1), ("due_at", 1)], name="outbox_deferred_due"),
    IndexModel(
        [("subscriber", 1), ("stream", 1), ("aggregate_id", 1), ("sequence", 1)],
        name="outbox_deferred_order",
    ),
    IndexModel(
        [("subscriber", 1), ("begun", 1)],
        name="outbox_deferred_begun",
        partialFilterExpression={"begun": True},
    ),
    # For `outbox.waiting`; none of these is written again by a retry.
    IndexModel(
        [("since", 1), ("_id", 1)],
        name="outbox_deferred_tried",
        partialFilterExpression={"attempts": {"$gte": 1}},
    ),
    IndexModel([("since", 1)], name="outbox_deferred_since"),
    IndexModel([("subscriber", 1), ("since", 1)], name="outbox_deferred_subscriber"),
    IndexModel([("aggregate_id", 1), ("since", 1)], name="outbox_deferred_aggregate"),
    IndexModel([("event_id", 1), ("since", 1)], name="outbox_deferred_event"),
]


#: Deferred events that are counted.
COUNTED = 10_000


class Deferred(NamedTuple):
    """One event that waits. `attempts` have been begun; `since` is when it was deferred first.

    `early` means that it came before its turn: it is due when that comes, and at `due_at` somebody
    has to ask why it doesn't. `replays` is the id of the dead letter that it was; such an event has
    lost its place in the order, and is handled when it is due.
    """

    id: str
    delivery: Delivery
    attempts: int
    due_at: datetime
    since: datetime
    early: bool = False
    alerted: bool = False
    replays: str | None = None
    last_error: str = ""


def put(
    subscriber: str,
    stream: str,
    deliveries: Sequence[Delivery],
    *,
    due_at: datetime,
    attempts: int = 0,
    early: bool = False,
    begun: Collection[str] = (),
    last_error: str = "",
    replays: str | None = None,
) -> None:
    """Defer events until `due_at`: one request; what is deferred already stays as it is.

    Those whose ids are in `begun` may have had a part of their effect, or all of it.
    """
    extra = {"early": early, "last_error": last_error, "replays": replays}
    _insert(
        # By its place: two events may be given one id, by mistake.
        _entry(
            replays or f"{subscriber}:{one.topic}:{one.aggregate_id}:{one.sequence}",
            subscriber,
            stream,
            one,
            due_at,
            attempts=attempts,
            **{name: value for name, value in extra.items() if value},
            **({"begun": True} if one.event_id in begun else {}),
        )
        for one in deliveries
    )


class Replay(NamedTuple):
    """A dead letter that its subscriber is to try again: its id, and where it is to go."""

    letter_id: str
    subscriber: str
    stream: str
    delivery: Delivery


def put_replays(replays: Iterable[Replay], *, due_at: datetime) -> None:
    """Defer dead letters until `due_at`: one request; what is deferred already stays as it is."""
    _insert(_entry(*one, due_at, attempts=0, replays=one.letter_id) for one in replays)


def _entry(
    id: str,
    subscriber: str,
    stream: str,
    one: Delivery,
    due_at: datetime,
    **more: Any,
) -> Document:
    return {
        "_id": id,
        "subscriber": subscriber,
        "stream": stream,
        "topic": one.topic,
        "aggregate_id": one.aggregate_id,
        "sequence": one.sequence,
        "event_id": one.event_id,
        "type": one.type,
        "text": one.text,
        "due_at": due_at,
        "since": clock.now(connections.database()),
        **more,
    }


def _insert(entries: Iterable[Document]) -> None:
    try:
        _deferred().insert_many(list(entries), ordered=False)
    except BulkWriteError as error:
        connections.raise_unless_duplicate(error)


def due(subscriber: str, stream: str, now: datetime, limit: int) -> list[Deferred]:
    """Events that are due, the longest due first."""
    wanted = {"subscriber": subscriber, "stream": stream, "due_at": {"$lte": now}}
    found = _deferred().find(wanted).sort("due_at", 1).limit(limit)
    return [_read(one) for one in found.hint("outbox_deferred_due")]


def rehome(subscriber: str, streams: Iterable[str], home: Callable[[Delivery], str]) -> None:
    """Move events that were deferred on streams that are gone to the `home` that each has now."""
    gone = {"subscriber": subscriber, "stream": {"$nin": list(streams)}}
    for found in _deferred().find(gone):
        stream = home(_read(found).delivery)
        _deferred().update_one({"_id": found["_id"]}, {"$set": {"stream": stream}})


def any_of(subscriber: str, stream: str) -> bool:
    """Whether anything is deferred at all."""
    wanted = {"subscriber": subscriber, "stream": stream}
    found = _deferred().find(wanted, {"_id": 1}, limit=1).hint("outbox_deferred_due")
    return next(found, None) is not None


def first_of(subscriber: str, stream: str, aggregate_id: str) -> Deferred | None:
    """An aggregate's event with the lowest number; replayed ones don't count."""
    wanted = {"subscriber": subscriber, "stream": stream, "aggregate_id": aggregate_id}
    # Told which, as it may else read all that is deferred, and sort it.
    found = _deferred().find({**wanted, "replays": None}).sort("sequence", 1).limit(1)
    return next((_read(one) for one in found.hint("outbox_deferred_order")), None)


def aggregates_of(
    subscriber: str, stream: str, aggregate_ids: Iterable[str], *, early: bool = False
) -> list[str]:
    """Those of the aggregates that have anything deferred, or anything that came `early`."""
    wanted: Document = {"subscriber": subscriber, "stream": stream, "replays": None}
    if early:
        wanted["early"] = True
    found: list[str] = _deferred().distinct(
        "aggregate_id", {**wanted, "aggregate_id": {"$in": list(set(aggregate_ids))}}
    )
    return found


def begin(one: Deferred, *, due_at: datetime, counted: bool = True) -> bool:
    """Count an attempt, before it is made; False if the event is no longer there.

    Dying in the attempt, the event is due again at `due_at`, and has no `last_error`. What the
    attempt before failed with is kept as `error_before`: "" if it hasn't come to its end.
    """
    before = {"error_before": one.last_error} if counted else {}
    changes: Document = {
        "$set": {"due_at": due_at, "early": False, "begun": True, **before},
        "$inc": {"attempts": int(counted)},
        "$unset": {"last_error": ""},
    }
    found: int = _deferred().update_one({"_id": one.id}, changes).matched_count
    return found == 1


def begun(subscriber: str) -> list[str]:
    """The ids of the events that may have had a part of their effect, or all of it."""
    wanted = {"subscriber": subscriber, "begun": True}
    found = _deferred().find(wanted, {"event_id": 1}).hint("outbox_deferred_begun")
    return [one["event_id"] for one in found]


def begin_all(those: Iterable[Deferred], *, due_at: datetime) -> None:
    """Count an attempt of each, before they are made together: one request."""
    sets = {"due_at": due_at, "begun": True, "error_before": ""}
    changes: Document = {"$set": sets, "$inc": {"attempts": 1}}
    _deferred().update_many({"_id": {"$in": [one.id for one in those]}}, changes)


def put_back(those: Iterable[Deferred], *, due_at: datetime) -> None:
    """Let these wait until `due_at`: the attempt that was counted last has not been made."""
    changes = {"$set": {"due_at": due_at}, "$inc": {"attempts": -1}}
    _deferred().update_many({"_id": {"$in": [one.id for one in those]}}, changes)


def put_off(one: Deferred, due_at: datetime, **changes: Any) -> None:
    """Let it wait until `due_at`, and note what is to be noted."""
    _deferred().update_one({"_id": one.id}, {"$set": {"due_at": due_at, **changes}})


def put_off_behind(subscriber: str, stream: str, one: Deferred) -> None:
    """Let an aggregate's later events wait until this one, its first, is due."""
    event = one.delivery
    _deferred().update_many(
        {
            "subscriber": subscriber,
            "stream": stream,
            "aggregate_id": event.aggregate_id,
            "sequence": {"$gt": event.sequence},
            "replays": None,
        },
        {"$max": {"due_at": one.due_at}},
    )


def remove(*those: Deferred, session: ClientSession | None = None) -> None:
    """They have been dealt with."""
    _deferred().delete_many({"_id": {"$in": [one.id for one in those]}}, session=session)


def withdraw(*letter_ids: str) -> None:
    """Take back the replay of dead letters, of those that still wait: one request."""
    # By the id alone, another event might be meant; there is no index but that of the id.
    _deferred().delete_many({"_id": {"$in": letter_ids}, "replays": {"$in": letter_ids}})


def _deferred() -> Any:
    return connections.collection(COLLECTION)


def _read(found: Document) -> Deferred:
    return Deferred(
        id=found["_id"],
        delivery=delivery.read(found["text"], found["topic"]),
        attempts=found["attempts"],
        due_at=found["due_at"],
        since=found["since"],
        early=found.get("early", False),
        alerted=found.get("alerted", False),
        replays=found.get("replays"),
        last_error=found.get("last_error", ""),
    )


def counts() -> dict[str, tuple[int, int]]:
    """Of each subscriber that has any: how many are deferred, and how many of these have waited for
    one before them that is missing for longer than `OUTBOX_GAP_TIMEOUT`. Counts to `COUNTED`.
    """
    stages: list[Any] = [
        {"$limit": COUNTED},
        {
            "$group": {
                "_id": "$subscriber",
                "deferred": {"$sum": 1},
                "missing": {"$sum": {"$cond": [{"$eq": ["$alerted", True]}, 1, 0]}},
            }
        },
    ]
    found = connections.collection(COLLECTION).aggregate(stages)
    return {one["_id"]: (one["deferred"], one["missing"]) for one in found}
