"""Monitoring: the state of the outbox as a whole, read at a cost that doesn't grow with it.

What waits is counted to some thousands and estimated from there on; nothing is scanned. Used by the
admin's overview, the API, `outbox_status`, the metrics and the health check, so that all of them
say the same. What is wrong in it, and what to do, says `outbox.diagnosis`.
"""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pymongo

from outbox import (
    backlog,
    broker_state,
    clock,
    connections,
    dead_letters,
    deferred,
    statistics,
    waiting,
)
from outbox.broker_state import BrokerState, GroupState
from outbox.conf import conf
from outbox.discovery import collections, messaging, topics
from outbox.errors import BrokerUnavailable
from outbox.lease import COLLECTION as LEASES
from outbox.lease import holder_of
from outbox.statistics import Counts, Minute, Process
from outbox.waiting import WaitingEvent

#: Seconds after which a process counts as gone that was seen last then.
SEEN_WITHIN = 15.0

#: Leases that are shown.
MOST_LEASES = 1000


class Pending(NamedTuple):
    """How many messages wait, whether that is counted or estimated, and since when the oldest."""

    messages: int
    is_exact: bool
    oldest: datetime | None


class Topic(NamedTuple):
    """A topic: messages `published` to it in all and in the last full minute; `entries` there."""

    name: str
    published: int
    published_per_minute: int
    entries: int | None


class SubscriberState(NamedTuple):
    """How far a subscriber is.

    `lag` is the number of events that it hasn't read yet (None: unknown; a lower bound unless
    `lag_is_exact`), `lag_seconds` for how long the oldest has lain that it hasn't read or
    acknowledged, `unacknowledged` what it has read and not acknowledged, `deferred` what it has put
    aside to try again; of these, `missing` wait for an event that hasn't come. `consumers` counts
    the processes seen lately; `active` are those of them that have a stream. `breaker` is the worst
    state of its circuit breakers, "" if none has ever changed. `last` is the consumer seen last.
    """

    name: str
    topic: str
    lag: int | None
    lag_is_exact: bool
    lag_seconds: float | None
    unacknowledged: int | None
    deferred: int
    missing: int
    dead_letters: int
    consumers: int
    active: list[str]
    breaker: str
    last: "LastSeen | None" = None


class LastSeen(NamedTuple):
    """A process ("host:pid") whose last sign of life was some `seconds` ago, and within an hour."""

    process: str
    seconds: float


class Failing(NamedTuple):
    """Events that a subscriber has tried in vain and will try again, and the one tried most often.

    Those in whose attempt the process `died` are told of apart from those that it failed on.
    `events` counts the ones among the `waiting.LOOKED_AT` that have waited the longest, of all
    subscribers. Of the one, `attempts` are over, the last with `error`; it is due at `due_at`.
    """

    subscriber: str
    events: int
    event_id: str
    event: str
    attempts: int
    died: bool
    error: str
    due_at: datetime


class Held(NamedTuple):
    """A lease that somebody holds: `holder` is "host:pid"."""

    name: str
    holder: str
    expires_at: datetime


class BreakerState(NamedTuple):
    """A circuit breaker of a process ("host:pid"): its name, state, and since when."""

    name: str
    state: str
    process: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The outbox `at` a moment of the server's clock; `broker_error` is "" if Redis answered.

    `strange` are keys that lie where streams should be, and of what kind each is; `lost` the
    subscribers whose consumer group was found gone in the last hour, and with it Redis' data.

    `refused` are the documents in which a message was refused by the broker and waits for its next
    try, those that are stuck included. `relay_seen` is the age of the last sign of life of any
    relay, in seconds, and `relay` whose it was ("host:pid"); None and "" if there was none in the
    last hour.
    """

    at: datetime
    pending: Pending
    refused: int = 0
    stuck: int
    dead_letters: int
    replaying: int
    published_per_minute: int
    broker_error: str
    relay_seen: float | None
    relay: str = ""
    topics: list[Topic]
    subscribers: list[SubscriberState]
    leases: list[Held]
    breakers: list[BreakerState]
    processes: list[Process]
    strange: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    failing: list[Failing] = field(default_factory=list)
    took: float = field(compare=False)


def overview() -> Overview:
    """The state now. Raises `StoreUnavailable` and `MissingIndex`; of Redis, it says how it is.

    All that it asks of MongoDB takes no longer together than one operation may.
    """
    with pymongo.timeout(conf.MONGODB_TIMEOUT):
        return _overview()


def _overview() -> Overview:
    began = time.monotonic()
    with connections.store_errors():
        at = clock.now(connections.database())
        pending = backlog.of(collections())
        letters = dead_letters.counts()
        aside = deferred.counts()
        failing = _failing(waiting.tried())
        held = _held(at)
    seen = statistics.processes(at - timedelta(hours=1))
    lately = [one for one in seen if _is_alive(one, at)]
    broker, broker_error = _broker()
    totals, minutes = statistics.totals(), _last_hour(at)
    minute = _last_full(minutes, at)
    breakers = [
        BreakerState(name, state, one.name, since)
        for one in lately
        for name, (state, since) in sorted(one.breakers.items())
    ]
    relay = _last_seen("relay", seen, at)
    return Overview(
        at=at,
        pending=Pending(*pending[:3]),
        refused=pending.refused,
        stuck=pending.stuck,
        dead_letters=sum(letters.dead.values()),
        replaying=sum(letters.replaying.values()),
        published_per_minute=sum(minute.get("published", {}).values()),
        broker_error=broker_error,
        strange=broker.strange,
        lost=sorted({name for one in minutes for name in one.counts.get("group_lost", ())}),
        failing=failing,
        relay_seen=relay.seconds if relay else None,
        relay=relay.process if relay else "",
        topics=[
            Topic(
                name,
                totals.get("published", {}).get(name, 0),
                minute.get("published", {}).get(name, 0),
                broker.entries.get(name),
            )
            for name in topics()
        ],
        subscribers=[
            _subscriber(
                one,
                broker.groups.get(name),
                aside,
                letters.dead,
                lately,
                held,
                breakers,
                _last_seen(f"consumer:{name}", seen, at),
            )
            for name, one in sorted(messaging().subscribes.items())
        ],
        leases=held,
        breakers=breakers,
        processes=lately,
        took=time.monotonic() - began,
    )


def _subscriber(
    subscriber: Any,
    group: GroupState | None,
    aside: dict[str, tuple[int, int]],
    dead: Counter[str],
    processes: list[Process],
    held: list[Held],
    breakers: list[BreakerState],
    last: LastSeen | None,
) -> SubscriberState:
    name = subscriber.name
    put_aside, missing = aside.get(name, (0, 0))
    states = {one.state for one in breakers if one.name == name}
    return SubscriberState(
        name,
        subscriber.topic,
        group.lag if group else None,
        group.lag_is_exact if group else False,
        group.seconds if group else None,
        group.unacknowledged if group else None,
        put_aside,
        missing,
        dead[name],
        sum(f"consumer:{name}" in one.roles for one in processes),
        sorted({one.holder for one in held if one.name.startswith(f"consumer:{name}:")}),
        next((state for state in ("open", "half-open", "closed") if state in states), ""),
        last,
    )


def _last_seen(role: str, processes: list[Process], at: datetime) -> LastSeen | None:
    """Who was seen last of those that do what `role` says."""
    found = [(one.roles[role], one.name) for one in processes if role in one.roles]
    if not found:
        return None
    seen_at, name = max(found)
    return LastSeen(name, max(0.0, (at - seen_at).total_seconds()))


def _failing(tried: list[WaitingEvent]) -> list[Failing]:
    """Of each subscriber that has tried any of these in vain, by name."""
    groups: dict[tuple[str, bool], list[WaitingEvent]] = defaultdict(list)
    for one in tried:
        if one.ended:
            groups[one.subscriber, one.died_in is not None].append(one)
    found = []
    for (name, died), events in sorted(groups.items()):
        worst = max(events, key=lambda one: one.ended)  # of equals, the one that waits the longest
        said = worst.ended, died, worst.error, worst.due_at
        found.append(Failing(name, len(events), worst.event_id, worst.named, *said))
    return found


def _broker() -> tuple[BrokerState, str]:
    wanted = {name: one.topic for name, one in messaging().subscribes.items()}
    try:
        return broker_state.read(topics(), wanted), ""
    except BrokerUnavailable as error:
        return BrokerState({}, {}, {}), str(error)


def _held(at: datetime) -> list[Held]:
    where: dict[str, Any] = {"owner": {"$ne": None}, "expires_at": {"$gt": at}}
    found = connections.collection(LEASES).find(where, limit=MOST_LEASES)
    return sorted(Held(one["_id"], holder_of(one["owner"]), one["expires_at"]) for one in found)


def _last_hour(at: datetime) -> list[Minute]:
    return statistics.minutes(at - timedelta(hours=1), ["published", "group_lost"])


def _last_full(minutes: list[Minute], at: datetime) -> Counts:
    """The counts of the last minute that is over."""
    wanted = at.replace(second=0, microsecond=0) - timedelta(minutes=1)
    return next((one.counts for one in minutes if one.at == wanted), {})


def _is_alive(process: Process, at: datetime) -> bool:
    return (at - process.seen_at).total_seconds() <= SEEN_WITHIN
