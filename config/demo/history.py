"""The history: what the documents say was published, held against what is on the streams."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: A stream's entries in order: (entry id, the event as it was read from JSON).
Entries = Iterable[tuple[str, Mapping[str, Any]]]


@dataclass
class History:
    """What `compare` found. Each event is named as (aggregate id, topic, sequence number)."""

    documents: int = 0
    #: Events that the documents have given a sequence number.
    expected: int = 0
    #: Events on the streams, each counted once.
    published: int = 0
    missing: list[tuple[str, str, int]] = field(default_factory=list)
    #: Came after an event with a higher number, repeats aside.
    out_of_order: list[tuple[str, str, int]] = field(default_factory=list)
    #: On a stream, but not of any document: a number never given out, or one used twice.
    invented: list[tuple[str, str, int]] = field(default_factory=list)
    #: Entries that repeat an event id; delivery is at least once, so these are no fault.
    duplicates: int = 0
    #: From commit to stream, in milliseconds, in the order of publication.
    delays: list[float] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not (self.missing or self.out_of_order or self.invented)

    def delay(self, percent: float) -> float | None:
        """The delay that this share of events didn't exceed; None without events."""
        if not self.delays:
            return None
        return sorted(self.delays)[math.ceil(len(self.delays) * percent / 100) - 1]


def compare(documents: Iterable[Mapping[str, Any]], streams: Mapping[str, Entries]) -> History:
    """Hold the streams' entries, by topic, against the documents."""
    history, given = History(), {}
    for document in documents:
        history.documents += 1
        for topic, last in document["outbox"]["sequences"].items():
            given[document["_id"], topic] = last
    history.expected = sum(given.values())
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for topic, entries in streams.items():
        _read(history, topic, entries, given, seen)
    history.missing = [
        (aggregate_id, topic, number)
        for (aggregate_id, topic), last in given.items()
        for number in range(1, last + 1)
        if number not in seen[aggregate_id, topic]
    ]
    return history


def delay(entry_id: str, event: Mapping[str, Any]) -> float:
    """Milliseconds from commit, by the database's clock, to the stream, by Redis's."""
    committed = datetime.fromisoformat(event["timestamp"])
    return int(entry_id.split("-")[0]) - committed.timestamp() * 1000


def _read(
    history: History,
    topic: str,
    entries: Entries,
    given: Mapping[tuple[str, str], int],
    seen: dict[tuple[str, str], set[int]],
) -> None:
    event_ids: set[str] = set()
    for entry_id, event in entries:
        if event["eventId"] in event_ids:
            history.duplicates += 1
            continue
        event_ids.add(event["eventId"])
        history.published += 1
        history.delays.append(delay(entry_id, event))
        key, number = (event["aggregateId"], topic), event["sequenceNumber"]
        numbers = seen[key]
        if number in numbers or not 1 <= number <= given.get(key, 0):
            history.invented.append((*key, number))
        elif numbers and number < max(numbers):
            history.out_of_order.append((*key, number))
        numbers.add(number)
