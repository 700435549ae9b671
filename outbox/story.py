"""The story of an aggregate: what became of each of its messages, and what led to them.

Read from the document, the archive, what was discarded, what waits for its subscribers, the dead
letters and the inbox: eight requests, and no more of any of them than `MOST`. What is no longer
kept is not in it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from outbox import connections, dead_letters, discarded, dispatched, inbox, waiting
from outbox.connections import Document
from outbox.document.showing import Parts
from outbox.waiting import WaitingEvent

#: Messages of an aggregate that are told of, the newest; and rows that are read beside each kind.
MOST, MOST_ROWS = 200, 2_000


class Other(NamedTuple):
    """A message that led to one of the aggregate's, or that came of one."""

    event_id: str
    type: str
    topic: str
    collection: str
    aggregate_id: str


class Handled(NamedTuple):
    """That a subscriber has handled an event."""

    subscriber: str
    at: datetime


@dataclass(kw_only=True)
class Event:
    """A message of the aggregate: with `due_at` while pending, with `dispatched_at` afterwards.

    With neither, only its dead letters (raw, without their text), what was discarded, or what
    subscribers have put aside is kept.
    """

    event_id: str
    type: str
    topic: str
    sequence: int | None
    occurred_at: datetime | None = None
    causation_id: str = ""
    correlation_id: str = ""
    due_at: datetime | None = None
    dispatched_at: datetime | None = None
    attempts: int = 0
    last_error: str = ""
    discarded: Document | None = None
    letters: list[Document] = field(default_factory=list)
    waiting: list[WaitingEvent] = field(default_factory=list)
    handled: list[Handled] = field(default_factory=list)
    effects: list[Other] = field(default_factory=list)


@dataclass(kw_only=True)
class Step:
    """What one command or event has done to the aggregate: the messages that it recorded.

    `cause` is the event; None where it was a command, or an event that isn't kept any more.
    """

    cause_id: str
    cause: Other | None
    events: list[Event] = field(default_factory=list)


class Story(NamedTuple):
    """The steps, the first one first; not `is_whole` if there are older messages than these."""

    steps: list[Step]
    is_whole: bool


def of(collection: str, parts: Parts) -> Story:
    """The story of an aggregate. Raises `StoreUnavailable`, `MissingIndex`."""
    with connections.store_errors():
        events, is_whole = _events(collection, parts)
        _add_discarded(events, collection, parts.aggregate_id)
        _add_letters(events, parts)
        _add_waiting(events, parts)
        _add_handled(events, parts.aggregate_id)
        _add_effects(events)
        ordered = sorted(events.values(), key=lambda event: event.event_id)
        causes = _others({"_id": {"$in": [*{e.causation_id for e in ordered}, *parts.handled]}})
    return Story(_steps(ordered, parts.handled, {one.event_id: one for one in causes}), is_whole)


def _events(collection: str, parts: Parts) -> tuple[dict[str, Event], bool]:
    """The messages by event id, and whether these are all that are kept."""
    fields = dict.fromkeys([*dispatched.SHOWN, "metadata"], 1)
    where = {"aggregate_id": {"$eq": parts.aggregate_id}}
    found = list(
        connections.collection(dispatched.COLLECTION)
        .find(where, fields)
        .hint("outbox_aggregate")
        .sort("_id", -1)
        .limit(MOST + 1)
    )
    rows = [
        *(
            {**one, "event_id": one["_id"]}
            for one in found[:MOST]
            if one["collection"] == collection
        ),
        *parts.pending,  # last: one that is published but not pulled yet is pending
    ]
    return {one["event_id"]: _event(one) for one in rows if "event_id" in one}, len(found) <= MOST


def _event(row: Document) -> Event:
    metadata = row.get("metadata", {})
    return Event(
        event_id=row["event_id"],
        type=row.get("type", ""),
        topic=row.get("topic", ""),
        sequence=row.get("sequence"),
        occurred_at=row.get("occurred_at"),
        causation_id=metadata.get("causationId", ""),
        correlation_id=metadata.get("correlationId", ""),
        due_at=row.get("due_at"),
        dispatched_at=row.get("dispatched_at"),
        attempts=row.get("attempts", 0),
        last_error=row.get("last_error", ""),
    )


def _add_discarded(events: dict[str, Event], collection: str, aggregate_id: str) -> None:
    where = {"aggregate_id": {"$eq": aggregate_id}}
    fields = ("discarded_at", "discarded_by", "reason")
    for one in _rows(discarded.COLLECTION, where, {"payload": 0}):
        if one["collection"] == collection:
            # Its tombstone is in the archive, or still pending.
            event = events.setdefault(one["_id"], _event({**one, "event_id": one["_id"]}))
            event.discarded = {name: one.get(name, "") for name in fields}


def _add_letters(events: dict[str, Event], parts: Parts) -> None:
    where = {"aggregate_id": {"$eq": parts.aggregate_id}}
    for one in _rows(dead_letters.COLLECTION, where, {"text": 0, "traceback": 0}):
        known = one["event_id"] in events
        # An aggregate of another collection may have the same id, but not the same topics.
        if known or one["topic"] in parts.sequences:
            event = events.setdefault(one["event_id"], _event({**one, "attempts": 0}))
            event.letters.append({**one, "key": one["_id"]})


#: What an event is to its subscribers says nothing of how its publication went.
_UNTRIED: Document = {"due_at": None, "attempts": 0, "last_error": "", "metadata": {}}


def _add_waiting(events: dict[str, Event], parts: Parts) -> None:
    for one in waiting.of_aggregate(parts.aggregate_id, MOST_ROWS):
        if one.event_id in events or (one.event_id and one.topic in parts.sequences):
            event = events.setdefault(one.event_id, _event({**vars(one), **_UNTRIED}))
            event.waiting.append(one)


def _add_handled(events: dict[str, Event], aggregate_id: str) -> None:
    fields = {"handled_at": 1}
    for one in _rows(inbox.ENTRIES, {"aggregate_id": {"$eq": aggregate_id}}, fields):
        subscriber, _, event_id = one["_id"].partition(":")
        if event_id in events:
            events[event_id].handled.append(Handled(subscriber, one["handled_at"]))


def _add_effects(events: dict[str, Event]) -> None:
    """What other messages of these conversations came of the aggregate's own."""
    conversations = {event.correlation_id for event in events.values()} - {""}
    by_cause: dict[str, list[Other]] = defaultdict(list)
    fields = {**_OTHER, "metadata.causationId": 1}
    where = {"metadata.correlationId": {"$in": sorted(conversations)}}
    for one in _rows(dispatched.COLLECTION, where, fields):
        by_cause[one["metadata"].get("causationId", "")].append(_other(one))
    for event in events.values():
        event.effects = by_cause.get(event.event_id, [])


_OTHER = dict.fromkeys(("type", "topic", "collection", "aggregate_id"), 1)


def _others(where: Document) -> list[Other]:
    return [_other(one) for one in _rows(dispatched.COLLECTION, where, _OTHER)]


def _other(row: Document) -> Other:
    return Other(row["_id"], *(row[name] for name in _OTHER))


def _rows(collection: str, where: Document, fields: dict[str, Any]) -> list[Document]:
    return list(connections.collection(collection).find(where, fields).limit(MOST_ROWS))


def _steps(events: Iterable[Event], handled: Sequence[str], causes: dict[str, Other]) -> list[Step]:
    """The messages of each cause together; what was handled without any, where it was handled."""
    by_cause: dict[str, Step] = {}
    for event in events:
        cause = event.causation_id
        step = by_cause.setdefault(cause, Step(cause_id=cause, cause=causes.get(cause)))
        step.events.append(event)
    steps = list(by_cause.values())
    place = 0
    for cause in dict.fromkeys(handled):
        if cause in by_cause:
            place = steps.index(by_cause[cause]) + 1
        elif cause in causes:
            steps.insert(place, Step(cause_id=cause, cause=causes[cause]))
            place += 1
    return steps
