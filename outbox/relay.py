"""The relay: publishes the messages that wait in documents, in order, and takes them out.

A polling publisher (Richardson's Message Relay) that leases a partition instead of claiming
documents: each batch is one request to read it, one pipeline to the broker and one update; while
one is taken out of its documents, the next is read and published. At least once: what dies between
publishing and pulling is published again, with the same id and sequence number.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache
from typing import TypeVar

from pymongo import WriteConcern
from pymongo.collection import Collection

from outbox import batch, connections, publishers
from outbox.breaker import Breaker
from outbox.conf import conf
from outbox.document import Document, relaying
from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.lease import Lease
from outbox.publishers.base import Outcome, Publisher
from outbox.telemetry import telemetry

T = TypeVar("T")

#: Seconds that a process's relays leave a broker alone that was away: short, so that they go on
#: soon after it is back, and at full speed.
REST = 1.0

#: Partitions that a sweep works on at a time: while one waits for its last batch to be settled, the
#: next is read.
SIDE_BY_SIDE = 2


def lease(collection: str, partition: int) -> Lease:
    """The lease that a relay works on this partition by.

    Not waited for by a majority, which would take as long as a commit. If a failover takes it back,
    two may work on the partition for as long as it lasts: each publishes in order what waits in the
    documents, so that some is published twice and nothing out of its order.
    """
    name = f"relay:{collection}:{partition}"
    return Lease(connections.database(), name, conf.LEASE, write_concern=WriteConcern(1))


class Relay:
    """Relays the messages of one collection.

    Any number of relays may run at once, in threads, processes and hosts: a partition is worked on
    by one at a time, and what another one holds is left to it.

    A broker that is away burns nobody's attempts. It opens the circuit breaker that all relays of
    this process share: they look at nothing and try nothing until it lets them, a second later.
    """

    def __init__(self, collection: str, *, publisher: Publisher | None = None) -> None:
        self.collection = collection
        self._publisher = publisher or publishers.configured()
        self._breaker = _new_breaker() if publisher else _breaker(conf.PUBLISHER, os.getpid())

    @property
    def rests_for(self) -> float:
        """Seconds until the broker, which was away, is tried again; 0 if nothing is known of it."""
        return self._breaker.rests_for

    def sweep(self) -> int:
        """Publish what is due in every partition; the number of messages published.

        Ends after `OUTBOX_SWEEP_TIME` seconds at the latest. Raises `BrokerUnavailable`,
        `StoreUnavailable` or `MissingIndex`; all that is not published then stays pending.
        """
        ends = time.monotonic() + conf.SWEEP_TIME
        telemetry.alive("relay")
        self._refuse_to_disturb()
        with connections.store_errors():
            partitions = list(self.due_partitions())
        # Relays that start at the same moment shouldn't queue up at the same partition.
        random.shuffle(partitions)
        if len(partitions) < 2 or connections.is_in_process():  # mongomock is no threads'
            return _each(partitions, lambda partition: self._sweep(partition, ends))
        pool = ThreadPoolExecutor(SIDE_BY_SIDE, "outbox-sweep")
        try:
            sweeps = [pool.submit(self._sweep, partition, ends) for partition in partitions]
            return _each(sweeps, lambda sweep: sweep.result())
        finally:
            pool.shutdown(cancel_futures=True)

    def sweep_partition(self, partition: int) -> int:
        """Publish what is due in one partition, otherwise as `sweep`."""
        telemetry.alive("relay")
        self._refuse_to_disturb()
        return self._sweep(partition, time.monotonic() + conf.SWEEP_TIME)

    def _refuse_to_disturb(self) -> None:
        if rest := self.rests_for:
            raise BrokerUnavailable(f"The broker was away; it is tried again in {rest:.1f} s.")

    def _sweep(self, partition: int, ends: float) -> int:
        published = 0
        with connections.store_errors():
            while time.monotonic() < ends:
                mine = lease(self.collection, partition)
                if not mine.acquire():
                    break
                try:
                    published += self.drain(partition, mine, ends)
                finally:
                    mine.release()
                # Once more, now that others can have the lease: a commit may have been announced
                # after the last find to a relay that was turned away at the lease.
                if not self.is_due(partition):
                    break
        return published

    def drain(self, partition: int, mine: Lease, ends: float) -> int:
        """Publish what is due in a partition whose lease is `mine`; the number published.

        Ends when nothing is left, soon after the monotonic clock says `ends`, or when the lease is
        not surely ours any more. Raises `BrokerUnavailable` and what pymongo raises.
        """
        published, more = 0, True
        # At most one batch at a time is settled behind the one that is read and published.
        with self._failures(), ThreadPoolExecutor(1, "outbox-settle") as behind:
            while more and time.monotonic() < ends:
                number, more = self._drain_once(partition, mine, ends, behind)
                published += number
        return published

    def publish(self, stored: Sequence[Document]) -> int:
        """Publish what is due in documents of one's own partitions that are known already.

        Each is as `outbox.document.relaying.committed` gives it, and there once. Otherwise as
        `drain`.
        """
        found = batch.of(self._documents, stored)
        with self._failures():
            outcomes = self._publish(found)
            return self._worked(batch.settle(self._documents, found, outcomes))

    def _drain_once(
        self, partition: int, mine: Lease, ends: float, behind: ThreadPoolExecutor
    ) -> tuple[int, bool]:
        """Publish what one find finds; how many, and whether there may be more for another."""
        published, more = 0, False
        settling: Future[int] | None = None
        with closing(batch.read(self._documents, partition)) as batches:
            for found in batches:
                # A relay that was paused since it read must not publish what is another's by now.
                if not mine.keep():
                    break
                outcomes = self._publish(found)
                if settling is not None:
                    published, settling = published + self._worked(settling.result()), None
                # Dying here: both batches are published again; no document is in both.
                if found.goes_on and not connections.is_in_process():  # mongomock is no threads'
                    settling = behind.submit(batch.settle, self._documents, found, outcomes)
                else:
                    published += self._worked(batch.settle(self._documents, found, outcomes))
                more = found.full
                if time.monotonic() >= ends:
                    break
        if settling is not None:
            published += self._worked(settling.result())
        return published, more

    def _publish(self, found: batch.Batch) -> list[Outcome]:
        if not found.groups:
            return []
        self._breaker.let_one_try()
        return self._publisher.publish(found.groups)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BrokerUnavailable as error:
            self._breaker.failed(error)
            raise

    def _worked(self, published: int) -> int:
        if not self._breaker.is_closed:
            self._breaker.succeeded()
        return published

    def due_partitions(self) -> Iterator[int]:
        """The partitions with something due: one seek in the index for each, and one more.

        Raises what pymongo raises.
        """
        passed: list[int] = []
        while (found := self._find_due(passing=passed)) is not None:
            passed.append(relaying.partition(found))
            yield passed[-1]

    def is_due(self, partition: int) -> bool:
        """Whether something is due in a partition. Raises what pymongo raises."""
        return self._find_due(partition) is not None

    def _find_due(
        self, partition: int | None = None, passing: list[int] | None = None
    ) -> Document | None:
        where = relaying.due(batch.horizon(self._documents), partition, passing or [])
        with batch.find(self._documents, where, relaying.PARTITION, limit=1) as cursor:
            found: Document | None = next(cursor, None)
            return found

    @property
    def _documents(self) -> Collection[Document]:
        return connections.collection(self.collection)


def sweep_all(relays: Iterable[Relay]) -> int:
    """Let each relay sweep; the number of messages published. Raises as `Relay.sweep` does."""
    return _each(relays, lambda relay: relay.sweep())


@cache
def _breaker(publisher: str, pid: int) -> Breaker:
    return _new_breaker()


def _new_breaker() -> Breaker:
    return Breaker("relay", failures=1, rest=REST)


def _each(things: Iterable[T], sweep: Callable[[T], int]) -> int:
    """Sweep each, whatever becomes of the others, and raise the first failure at the end.

    Only a broker or a store that is away ends it at once, since it is away for all.
    """
    published, failures = 0, []
    for thing in things:
        try:
            published += sweep(thing)
        except (BrokerUnavailable, StoreUnavailable):
            raise
        except Exception as error:
            # Any exception: what is wrong in one partition or collection is not the others' fault.
            failures.append(error)
    if failures:
        raise failures[0]
    return published
