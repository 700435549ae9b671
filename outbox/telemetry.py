"""Telemetry: what this process has counted, and that it is there, written to MongoDB each second.

    outbox_statistics  {_id: "total", counts} since the beginning; {_id: minute, at, counts} for
                       each minute of the last day
    outbox_processes   {_id, host, pid, seen_at, roles: {role: last seen}, breakers: {name: {state,
                       at}}}, for an hour after it was seen last

`counts` is {name: {label: number}}, and of a histogram {name: {label: {bucket: number, "sum"}}}.
All processes write to one place, so that whoever is asked for the numbers has those of all: a web
server's worker those of Celery's. What is counted costs the relay and the consumers no request; a
process that is killed loses what it has counted in its last second, and nothing else.
"""

import atexit
import logging
import os
import socket
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.errors import PyMongoError

from outbox import clock, connections
from outbox.conf import conf
from outbox.errors import StoreUnavailable

logger = logging.getLogger(__name__)

STATISTICS, PROCESSES = "outbox_statistics", "outbox_processes"
STATISTICS_TTL, PROCESSES_TTL = "outbox_statistics_retention", "outbox_processes_retention"
TOTAL = "total"

#: How long the minutes are kept, and processes that aren't seen any more.
MINUTES_KEPT, PROCESSES_KEPT = timedelta(hours=25), timedelta(hours=1)

#: Upper bounds of the histograms' buckets: seconds, and messages in a batch.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000)

LONG_AGO = float("-inf")

#: Seconds between two writes; and at most, between two signs of life.
EVERY, ALIVE_EVERY = 1.0, 5.0
#: Seconds that a write may take at the end of a process.
FAREWELL = 2.0


class Telemetry:
    """The numbers and the signs of life that this process hasn't written yet."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child does: what its parent has counted is its parent's."""
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._roles: set[str] = set()
        self._breakers: dict[str, str] = {}
        self._alive_at = LONG_AGO
        self._thread: Thread | None = None
        self._name = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"

    def count(self, name: str, label: str, number: float = 1) -> None:
        """Count `number` more of `name` (a counter) for `label` (a topic, or a subscriber)."""
        self._add({f"{name}.{_key(label)}": number})

    def observe(
        self, name: str, label: str, values: Sequence[float], bounds: Sequence[float] = BUCKETS
    ) -> None:
        """Count `values` in the buckets of the histogram `name`; those below 0 count as 0."""
        path = f"{name}.{_key(label)}"
        values = [max(0.0, value) for value in values]
        buckets = Counter(map(partial(bisect_left, bounds), values))
        self._add({f"{path}.{one}": n for one, n in buckets.items()} | {f"{path}.sum": sum(values)})

    def alive(self, role: str) -> None:
        """Say that this process does what `role` says: "relay", or "consumer:" and a name."""
        if conf.STATISTICS:
            with self._lock:
                self._roles.add(role)
            self._see_to_it()

    def breaker(self, name: str, state: str) -> None:
        """Note the state of a circuit breaker of this process."""
        if conf.STATISTICS:
            with self._lock:
                self._breakers[name] = state
                self._alive_at = LONG_AGO  # at once
            self._see_to_it()

    def flush(self) -> None:
        """Write what there is. What can't be written now is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            roles, breakers = self._roles, self._breakers
            due = time.monotonic() >= self._alive_at + ALIVE_EVERY
            seen = due and bool(roles or breakers)
            if seen:
                self._roles, self._breakers, self._alive_at = set(), {}, time.monotonic()
        try:
            with connections.store_errors():
                if counts:
                    minute = self._write_total(counts)
                    # Dying here, or failing: the charts lack it, the totals don't.
                    written, counts = counts, Counter()
                    self._write_minute(minute, written)
                if seen:
                    self._write_process(roles, breakers)
        except (StoreUnavailable, PyMongoError) as error:
            # Any error of MongoDB's: numbers are not worth failing for, and it has told the relay.
            logger.debug("Statistics were not written: %s", error)
            with self._lock:
                self._counts.update(counts)
                if seen:
                    self._roles |= roles
                    self._breakers = breakers | self._breakers
                    self._alive_at = LONG_AGO

    def farewell(self) -> None:
        """Write what is left when the process ends, if that is quickly done."""
        if self._thread is not None:
            self._alive_at = LONG_AGO
            with pymongo.timeout(FAREWELL):
                self.flush()

    def _add(self, numbers: dict[str, float]) -> None:
        if conf.STATISTICS:
            with self._lock:
                for path, number in numbers.items():
                    self._counts[path] += number  # type: ignore[assignment]
            self._see_to_it()

    def _see_to_it(self) -> None:
        """Have it written: by a thread of its own, in a second; on mongomock, which knows no
        threads, at once.
        """
        if connections.is_in_process():
            self.flush()
        elif self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._run, daemon=True, name="outbox-telemetry")
                    self._thread.start()

    def _run(self) -> None:
        never = Event()
        while not never.wait(EVERY):
            if not connections.is_in_process():  # a test's settings may have come to be others
                self.flush()

    def _write_total(self, counts: Counter[str]) -> datetime:
        """Add to the totals; the minute in which it was done."""
        database = connections.database()
        minute = clock.now(database).replace(second=0, microsecond=0)
        database[STATISTICS].update_one({"_id": TOTAL}, _added(counts), upsert=True)
        return minute

    def _write_minute(self, minute: datetime, counts: Counter[str]) -> None:
        connections.database()[STATISTICS].update_one(
            {"_id": minute}, {**_added(counts), "$setOnInsert": {"at": minute}}, upsert=True
        )

    def _write_process(self, roles: Iterable[str], breakers: dict[str, str]) -> None:
        database = connections.database()
        now, (host, pid, _) = clock.now(database), self._name.rsplit(":", 2)
        sets: dict[str, Any] = {"host": host, "pid": int(pid), "seen_at": now}
        sets |= {f"roles.{role}": now for role in roles}
        for name, state in breakers.items():
            sets[f"breakers.{_key(name)}"] = {"state": state, "at": now}
        database[PROCESSES].update_one({"_id": self._name}, {"$set": sets}, upsert=True)


def indexes() -> dict[str, list[IndexModel]]:
    """The indexes that let both collections expire."""
    return {
        STATISTICS: [_expiring("at", STATISTICS_TTL, MINUTES_KEPT)],
        PROCESSES: [_expiring("seen_at", PROCESSES_TTL, PROCESSES_KEPT)],
    }


def _expiring(field: str, name: str, after: timedelta) -> IndexModel:
    return IndexModel([(field, 1)], name=name, expireAfterSeconds=int(after.total_seconds()))


def _added(counts: Counter[str]) -> dict[str, Any]:
    return {"$inc": {f"counts.{path}": number for path, number in counts.items()}}


def _key(label: str) -> str:
    """A label as the key of a document; collections may have points in their names."""
    return label.replace(".", "_").lstrip("$") or "_"


telemetry = Telemetry()
os.register_at_fork(after_in_child=telemetry.forget)
atexit.register(telemetry.farewell)
