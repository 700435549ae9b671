"""The checker: says what became of every event, from documents and streams alone.

It knows nothing of what was done to the processes and uses none of the outbox's code. What comes
more than once onto a stream is no fault, as long as it is the same event; all else has a name.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from config.demo.history import Entries, compare

#: (aggregate id, topic, sequence number)
Event = tuple[str, str, int]

#: Of each topic, the numbers that had their effect, by aggregate and in that order.
Effects = Mapping[str, Mapping[str, Sequence[int]]]

#: What two entries with one event id must have in common; metadata may say that it is a replay.
IDENTITY = ("aggregateId", "sequenceNumber", "eventType", "payload")


@dataclass
class Faults:
    """What is wrong, each event by its name; nothing of it is ever right."""

    #: Given a number, and neither on its stream nor pending: lost.
    missing: list[Event] = field(default_factory=list)
    #: Came after an event with a higher number, repeats aside.
    out_of_order: list[Event] = field(default_factory=list)
    #: On a stream, and no document gave out its number; or its number, or its id, is another's.
    invented: list[Event] = field(default_factory=list)
    #: Still pending. The checker is asked when all should be done.
    stuck: list[Event] = field(default_factory=list)
    #: Told of a change that its cause had made before. Sums of what was changed may have been put
    #: right meanwhile, by somebody who gave back what was had too often.
    caused_twice: list[Event] = field(default_factory=list)
    effect_twice: list[Event] = field(default_factory=list)
    effect_missing: list[Event] = field(default_factory=list)
    #: Had its effect after one with a higher number.
    effect_out_of_order: list[Event] = field(default_factory=list)
    #: Had an effect, and no document gave out its number.
    effect_invented: list[Event] = field(default_factory=list)
    #: (aggregate id, version) of saves that were acknowledged and aren't there.
    unsaved: list[tuple[str, int]] = field(default_factory=list)

    def __str__(self) -> str:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        said = [f"{len(those)} {name}: {those[:5]}" for name, those in found.items() if those]
        return "; ".join(said) or "nothing is wrong"

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


def check(
    documents: Iterable[Mapping[str, Any]],
    streams: Mapping[str, Entries],
    *,
    effects: Effects | None = None,
    acknowledged: Mapping[str, int] | None = None,
) -> Faults:
    """Hold streams, effects and acknowledged versions against the documents."""
    documents = list(documents)
    streams = {topic: list(entries) for topic, entries in streams.items()}
    history, faults = compare(documents, streams), Faults()
    faults.stuck = [
        (one["_id"], entry["topic"], entry["sequence"])
        for one in documents
        for entry in one["outbox"]["pending"]
    ]
    waiting = set(faults.stuck)
    faults.missing = [one for one in history.missing if one not in waiting]
    faults.out_of_order = history.out_of_order
    faults.invented = history.invented + _altered(streams)
    faults.caused_twice = _caused_twice(streams)
    for topic, effected in (effects or {}).items():
        _hold_against(documents, topic, effected, faults)
    versions = {one["_id"]: one["version"] for one in documents}
    faults.unsaved = [
        (aggregate_id, version)
        for aggregate_id, version in (acknowledged or {}).items()
        if versions.get(aggregate_id, 0) < version
    ]
    return faults


def streams(redis: Any, topics: Iterable[str]) -> dict[str, Entries]:
    """All that is on the streams of these topics."""
    return {
        topic: [
            (entry_id.decode(), json.loads(fields[b"event"]))
            for entry_id, fields in redis.xrange(topic)
        ]
        for topic in topics
    }


def _altered(streams: Mapping[str, Entries]) -> list[Event]:
    """Entries that repeat an event's id and say something else."""
    altered, first = [], {}
    for topic, entries in streams.items():
        for _, event in entries:
            said = (topic, *(event.get(name) for name in IDENTITY))
            if first.setdefault(event["eventId"], said) != said:
                altered.append((event["aggregateId"], topic, event["sequenceNumber"]))
    return altered


def _caused_twice(streams: Mapping[str, Entries]) -> list[Event]:
    """Events that one message has caused in one aggregate, and not in one write."""
    twice, first = [], {}
    for topic, entries in streams.items():
        for _, event in entries:
            cause = event.get("metadata", {}).get("causationId")
            write = (event["aggregateId"], topic, cause)
            if cause and first.setdefault(write, event["timestamp"]) != event["timestamp"]:
                twice.append((event["aggregateId"], topic, event["sequenceNumber"]))
    return twice


def _hold_against(
    documents: Iterable[Mapping[str, Any]],
    topic: str,
    effected: Mapping[str, Sequence[int]],
    faults: Faults,
) -> None:
    last = {one["_id"]: one["outbox"]["sequences"].get(topic, 0) for one in documents}
    for aggregate_id in {**last, **effected}:
        numbers = list(effected.get(aggregate_id, ()))
        times = Counter(numbers)
        given = range(1, last.get(aggregate_id, 0) + 1)
        of = (aggregate_id, topic)
        faults.effect_twice += [(*of, one) for one, count in times.items() if count > 1]
        faults.effect_missing += [(*of, one) for one in given if one not in times]
        faults.effect_invented += [(*of, one) for one in times if one not in given]
        once = list(times)  # in the order of their first time
        faults.effect_out_of_order += [(*of, one) for before, one in pairwise(once) if one < before]
