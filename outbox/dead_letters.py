"""Dead letters: events that a subscriber couldn't handle, kept for people to act on.

    outbox_dead_letters  {_id: "subscriber:event id", subscriber, topic, stream, state, text,
                          event_id, type, aggregate_id, sequence, correlation_id, error,
                          error_type, traceback, attempts, first_failed_at, failed_at,
                          closed_at?, closed_by?, reason?}

`state` is "dead", "replaying" (waiting for the subscriber to try again), "replayed" or
"discarded". An envelope that couldn't be read at all has its stream and its entry's id there for
an event's.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from traceback import format_exception
from typing import Any, NamedTuple

from pymongo.client_session import ClientSession

from outbox import clock, connections, delivery, inbox, signals
from outbox.conf import conf
from outbox.connections import Document
from outbox.dead_letter_listing import (
    COLLECTION,
    DEAD,
    DISCARDED,
    INDEXES,
    REPLAYED,
    REPLAYING,
    DeadLetter,
    error_types,
    message,
    messages,
    of_event,
)
from outbox.delivery import Delivery

__all__ = [
    "COLLECTION",
    "DEAD",
    "DISCARDED",
    "INDEXES",
    "REPLAYED",
    "REPLAYING",
    "DeadLetter",
    "error_types",
    "message",
    "messages",
    "of_event",
]

logger = logging.getLogger(__name__)

TTL_INDEX = "outbox_dead_letter_retention"

#: Dead letters of a state that are counted.
COUNTED = 10_000

#: How often the number of dead letters had doubled when this process looked last.
_alerted = 0

#: Characters of an error's text, and of its traceback, that are kept.
LONGEST_ERROR, LONGEST_TRACEBACK = 2_000, 20_000


def store(
    subscriber: str,
    stream: str,
    event: Delivery,
    error: Exception,
    *,
    attempts: int,
    first_failed_at: datetime | None = None,
) -> None:
    """Keep an event that won't be tried again. Doing it twice makes no second one."""
    fields = {
        "topic": event.topic,
        "event_id": event.event_id,
        "type": event.type,
        "aggregate_id": event.aggregate_id,
        "sequence": event.sequence,
        "correlation_id": _storable(event.context().correlation_id),
        "text": event.text,
    }
    _store(
        subscriber, stream, event.event_id, fields, error, attempts, first_failed_at, event=event
    )


def store_unreadable(
    subscriber: str, stream: str, topic: str, entry_id: str, text: str, error: Exception
) -> None:
    """Keep what isn't an event, as it lay on the stream; once, if the stream is read again."""
    place = f"{stream}:{entry_id}"
    if not known(subscriber, place):
        fields = {"topic": topic, "event_id": place, "text": text[: delivery.LONGEST // 4]}
        _store(subscriber, stream, place, fields, error, attempts=1)


def known(subscriber: str, event_id: str) -> bool:
    """Whether there is, or was, a dead letter of this event."""
    wanted = {"_id": inbox.entry_id(subscriber, event_id)}
    return _letters().find_one(wanted, {"_id": 1}) is not None


def described(error: Exception) -> str:
    """An error in words, as many as are kept."""
    return _storable(f"{type(error).__name__}: {error}"[:LONGEST_ERROR])


def count(subscriber: str | None = None) -> int:
    """How many are dead. Raises `StoreUnavailable`."""
    with connections.store_errors():
        found: int = _letters().count_documents(_where(subscriber))
    return found


class Counts(NamedTuple):
    """How many dead letters each subscriber has, and how many wait to be tried again."""

    dead: Counter[str]
    replaying: Counter[str]


def counts() -> Counts:
    """The dead letters by subscriber, counted to `COUNTED`. Raises `StoreUnavailable`."""
    found = {}
    with connections.store_errors():
        for state in (DEAD, REPLAYING):
            stages: list[Any] = [
                {"$match": {"state": state}},
                {"$limit": COUNTED},
                {"$group": {"_id": "$subscriber", "count": {"$sum": 1}}},
            ]
            found[state] = Counter(
                {one["_id"]: one["count"] for one in _letters().aggregate(stages)}
            )
    return Counts(found[DEAD], found[REPLAYING])


def subscribers() -> set[str]:
    """The names of those that have any, of whatever state. Raises `StoreUnavailable`."""
    with connections.store_errors():
        return set(_letters().distinct("subscriber"))


def count_replaying(subscriber: str | None = None) -> int:
    """How many wait for their subscribers to try them again. Raises `StoreUnavailable`."""
    with connections.store_errors():
        found: int = _letters().count_documents({**_where(subscriber), "state": REPLAYING})
    return found


def dead(subscriber: str | None = None, *, limit: int = 100) -> list[Document]:
    """Those that are dead, the newest first, as they are kept. Raises `StoreUnavailable`."""
    with connections.store_errors():
        return list(_letters().find(_where(subscriber)).sort("failed_at", -1).limit(limit))


def ids(subscriber: str | None = None) -> Iterator[str]:
    """The ids of all that are dead, the oldest first."""
    with connections.store_errors():
        for found in _letters().find(_where(subscriber), {"_id": 1}).sort("failed_at", 1):
            yield found["_id"]


def unsettled(subscriber: str) -> list[str]:
    """The ids of the events that may still be replayed, the newest `COUNTED` of each state."""
    found: list[str] = []
    for state in (DEAD, REPLAYING):
        letters = _letters().find({"subscriber": subscriber, "state": state}, {"event_id": 1})
        found += (one["event_id"] for one in letters.sort("failed_at", -1).limit(COUNTED))
    return found


def replayed(letter_id: str, session: ClientSession | None = None) -> None:
    """Note that the subscriber has handled it at last."""
    now = clock.now(connections.database())
    _letters().update_one(
        {"_id": letter_id}, {"$set": {"state": REPLAYED, "closed_at": now}}, session=session
    )


def _store(
    subscriber: str,
    stream: str,
    event_id: str,
    fields: Document,
    error: Exception,
    attempts: int,
    first_failed_at: datetime | None = None,
    *,
    event: Delivery | None = None,
) -> None:
    letter_id, now = inbox.entry_id(subscriber, event_id), clock.now(connections.database())
    text = described(error)
    _letters().update_one(
        {"_id": letter_id},
        {
            "$set": {
                **fields,
                "subscriber": subscriber,
                "stream": stream,
                "state": DEAD,
                "attempts": attempts,
                "error": text,
                "error_type": type(error).__name__,
                "traceback": _storable("".join(format_exception(error))[-LONGEST_TRACEBACK:]),
                "failed_at": now,
            },
            "$setOnInsert": {"first_failed_at": first_failed_at or now},
            "$unset": {"closed_at": ""},
        },
        upsert=True,
    )
    logger.error(
        "%s gives up on %s after attempt %s, it is a dead letter now: %s",
        subscriber,
        event.named if event else f"what can't be read, {event_id}",
        attempts,
        text,
        extra={
            "action": "dead_letter",
            "subscriber": subscriber,
            "event_id": event_id,
            "aggregate_id": fields.get("aggregate_id"),
            "topic": fields["topic"],
            "attempt": attempts,
        },
    )
    signals.dead_lettered.send_robust(
        subscriber, dead_letter_id=letter_id, delivery=event, error=error
    )
    _alert(subscriber)


def _alert(subscriber: str) -> None:
    """Alert when there are too many, and again with each doubling; not with every one."""
    global _alerted
    how_many = count()
    level = (how_many // conf.DEAD_LETTER_ALERT).bit_length()
    if level > _alerted:
        logger.error(
            "There are %s dead letters: look at them with `manage.py outbox_dead_letters list`.",
            how_many,
            extra={"action": "dead_letter_alert", "count": how_many},
        )
        signals.dead_letter_alert.send_robust(subscriber, count=how_many)
    _alerted = level


def _storable(text: str) -> str:
    # Half a character, which MongoDB refuses, is easily quoted from what somebody sent.
    return text.encode(errors="backslashreplace").decode()


def _where(subscriber: str | None) -> Document:
    return {"state": DEAD} if subscriber is None else {"subscriber": subscriber, "state": DEAD}


def _letters() -> Any:
    return connections.collection(COLLECTION)
