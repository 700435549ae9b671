"""Statistics: what has become of messages and events, over all processes, as `telemetry` keeps it.

Counters, by topic: stored, published, refused, stuck, discarded; by subscriber: handled, repeats,
failures, dead_letters, group_lost; by collection: full (commands refused for want of room).
Histograms: publish_seconds (from when it happened until it was published, by topic), handle_seconds
(from when it happened until it was handled, by subscriber), consume_seconds (from the stream until
it was handled, by subscriber; not of events that were deferred), batch_size (messages, by
collection).

All functions raise `StoreUnavailable`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from outbox import connections, telemetry

Counts = dict[str, dict[str, Any]]


class Minute(NamedTuple):
    """What was counted in the minute that began `at`."""

    at: datetime
    counts: Counts


class Process(NamedTuple):
    """A process that does something for the outbox, and when it was last seen doing what.

    `roles` are "relay" and "consumer:" and a subscriber's name; `breakers` says of each circuit
    breaker of this process its state, and since when.
    """

    host: str
    pid: int
    seen_at: datetime
    roles: dict[str, datetime]
    breakers: dict[str, tuple[str, datetime]]

    @property
    def name(self) -> str:
        return f"{self.host}:{self.pid}"


def totals() -> Counts:
    """All counts since the beginning."""
    with connections.store_errors():
        found = connections.collection(telemetry.STATISTICS).find_one({"_id": telemetry.TOTAL})
    counts: Counts = (found or {}).get("counts", {})
    return counts


def minutes(since: datetime, names: Sequence[str]) -> list[Minute]:
    """The counts of some `names`, by minute, the oldest first; a minute without any is left out."""
    fields: dict[str, Any] = {"at": 1, **{f"counts.{name}": 1 for name in names}}
    with connections.store_errors():
        found = connections.collection(telemetry.STATISTICS).find(
            {"at": {"$gte": since}}, fields, batch_size=2000
        )
        return [Minute(one["at"], one.get("counts", {})) for one in found.sort("at", 1)]


def processes(since: datetime) -> list[Process]:
    """The processes that were seen since then, sorted by name."""
    with connections.store_errors():
        found = list(connections.collection(telemetry.PROCESSES).find({"seen_at": {"$gte": since}}))
    return sorted(
        Process(
            one["host"],
            one["pid"],
            one["seen_at"],
            one.get("roles", {}),
            {name: (b["state"], b["at"]) for name, b in one.get("breakers", {}).items()},
        )
        for one in found
    )
