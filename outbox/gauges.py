"""Gauges: what of an overview is worth following, by name and label. What isn't known has no value.

Who is known from the project's own tables, as the subscribers are, has a value always: 0 where
nobody holds a lease or does the work, so that an alert finds it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from outbox import streams
from outbox.conf import conf
from outbox.discovery import collections
from outbox.monitoring import Overview

#: The values of a gauge's labels, and its value there.
Value = tuple[tuple[str, ...], float | None]

BREAKER_STATES = {"": 0, "closed": 0, "half-open": 1, "open": 2}


class Gauge(NamedTuple):
    """A gauge: its name, what it says, its labels, and how it is read from an overview."""

    name: str
    text: str
    labels: tuple[str, ...]
    values: Callable[[Overview], Iterable[Value]]

    def known(self, overview: Overview) -> Iterator[tuple[tuple[str, ...], float]]:
        """The values that there are."""
        return ((at, value) for at, value in self.values(overview) if value is not None)


def _one(read: Callable[[Overview], float | None]) -> Callable[[Overview], Iterable[Value]]:
    return lambda overview: [((), read(overview))]


def _by_subscriber(field: str) -> Callable[[Overview], Iterable[Value]]:
    return lambda overview: [((one.name,), getattr(one, field)) for one in overview.subscribers]


def _oldest(overview: Overview) -> float:
    oldest = overview.pending.oldest
    return max(0.0, (overview.at - oldest).total_seconds()) if oldest else 0.0


def _dead_letters(overview: Overview) -> Iterable[Value]:
    found = Counter({one.name: one.dead_letters for one in overview.subscribers})
    # Of subscribers that an earlier version of the project had.
    found["other"] += overview.dead_letters - found.total()
    return [((name,), number) for name, number in found.items()]


def _leases(overview: Overview) -> Iterable[Value]:
    relays = [f"relay:{name}:{i}" for name in collections() for i in range(conf.PARTITIONS)]
    consumers = [
        f"consumer:{one.name}:{stream}"
        for one in overview.subscribers
        for stream in streams.streams_of(one.topic)
    ]
    held = dict.fromkeys([*relays, *consumers], 0.0) | {one.name: 1.0 for one in overview.leases}
    return [((_kind(name), name), value) for name, value in held.items()]


def _holders(overview: Overview) -> Iterable[Value]:
    holders = {(_kind(one.name), one.holder) for one in overview.leases}
    number = Counter(kind for kind, _ in holders)
    return [((kind,), number[kind]) for kind in sorted({"relay", "consumer", *number})]


def _kind(lease: str) -> str:
    return lease.partition(":")[0]


def _breakers(overview: Overview) -> Iterable[Value]:
    if not conf.STATISTICS:
        return []  # nobody would be seen
    worst = dict.fromkeys(["relay", *(one.name for one in overview.subscribers)], 0)
    for one in overview.breakers:
        worst[one.name] = max(worst.get(one.name, 0), BREAKER_STATES[one.state])
    return [((name,), state) for name, state in worst.items()]


def _processes(overview: Overview) -> Iterator[Value]:
    if not conf.STATISTICS:
        return
    yield ("relay", ""), sum("relay" in one.roles for one in overview.processes)
    for one in overview.subscribers:
        yield ("consumer", one.name), one.consumers


GAUGES = [
    Gauge(
        "outbox_broker_up",
        "Whether Redis answered.",
        (),
        _one(lambda overview: not overview.broker_error),
    ),
    Gauge(
        "outbox_pending_messages",
        "Messages that wait to be published; past some thousands, an estimate.",
        (),
        _one(lambda overview: overview.pending.messages),
    ),
    Gauge(
        "outbox_oldest_pending_age_seconds",
        "How long ago the oldest pending message was recorded; 0 if none is pending.",
        (),
        _one(_oldest),
    ),
    Gauge(
        "outbox_stuck_messages",
        "Pending messages that have failed OUTBOX_STUCK_AFTER times.",
        (),
        _one(lambda overview: overview.stuck),
    ),
    Gauge(
        "outbox_relay_seen_seconds",
        "How long ago a relay was last seen at work; nothing if none was in the last hour.",
        (),
        _one(lambda overview: overview.relay_seen),
    ),
    Gauge(
        "outbox_dead_letters",
        'Dead letters nobody has acted on; "other": of subscribers that are no more.',
        ("subscriber",),
        _dead_letters,
    ),
    Gauge(
        "outbox_replaying_dead_letters",
        "Dead letters that wait for their subscribers to try them again.",
        (),
        _one(lambda overview: overview.replaying),
    ),
    Gauge(
        "outbox_lag_events",
        "Events on the stream that a subscriber hasn't read yet.",
        ("subscriber",),
        _by_subscriber("lag"),
    ),
    Gauge(
        "outbox_lag_seconds",
        "How long the oldest event has lain that a subscriber hasn't read or acknowledged.",
        ("subscriber",),
        _by_subscriber("lag_seconds"),
    ),
    Gauge(
        "outbox_unacknowledged_events",
        "Events that a subscriber has read and not acknowledged.",
        ("subscriber",),
        _by_subscriber("unacknowledged"),
    ),
    Gauge(
        "outbox_deferred_events",
        "Events that a subscriber has put aside, to try them again.",
        ("subscriber",),
        _by_subscriber("deferred"),
    ),
    Gauge(
        "outbox_waiting_for_missing_events",
        "Deferred events that wait, for longer than OUTBOX_GAP_TIMEOUT, for one that hasn't come.",
        ("subscriber",),
        _by_subscriber("missing"),
    ),
    Gauge(
        "outbox_stream_entries",
        "Entries on a topic's streams.",
        ("topic",),
        lambda overview: [((one.name,), one.entries) for one in overview.topics],
    ),
    Gauge(
        "outbox_lease_held",
        "Whether anybody holds a lease (1) or not (0).",
        ("kind", "lease"),
        _leases,
    ),
    Gauge(
        "outbox_lease_holders",
        "Processes that hold leases: relays a partition while they drain it, consumers a stream.",
        ("kind",),
        _holders,
    ),
    Gauge(
        "outbox_breaker_state",
        "The worst state of a circuit breaker in any process: 0 closed, 1 half-open, 2 open.",
        ("breaker",),
        _breakers,
    ),
    Gauge(
        "outbox_processes",
        "Processes seen at work lately, as relays or as consumers for a subscriber.",
        ("role", "subscriber"),
        _processes,
    ),
]
