"""The consumer: takes one subscriber's events off one stream, and has each take effect once.

An Idempotent Receiver and, per aggregate, a Resequencer (Hohpe and Woolf). Of any number that run
for a subscriber, one works on a stream at a time, by lease; another takes over within the lease
time. What can't be handled yet is deferred (see `deferred_events`), so that the others go on.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from outbox import connections, dead_letters, delivery, effects, inbox, outages, signals, swap
from outbox.beginnings import Beginnings
from outbox.breaker import Breaker
from outbox.conf import conf
from outbox.consumer_group import ConsumerGroup, Entry
from outbox.deferred_events import DeferredEvents
from outbox.delivery import Delivery
from outbox.effects import Notes
from outbox.errors import (
    BrokerUnavailable,
    GapPassed,
    StoreUnavailable,
    StreamUnavailable,
    Superseded,
    UnreadableEvent,
)
from outbox.failures import Failures
from outbox.lease import Lease
from outbox.message_bus import MessageBus
from outbox.sequencing import Arrangement, arrange
from outbox.subscriber import Subscriber
from outbox.telemetry import telemetry
from outbox.upcasting import Upcaster

logger = logging.getLogger(__name__)

#: Seconds that a read waits for events: how long it takes to see that it is time to stop, and to
#: look at what is deferred.
BLOCK = 1.0


class Batch(NamedTuple):
    """Some entries, and what could be read of them."""

    entries: list[Entry]
    deliveries: list[Delivery]
    unreadable: list[tuple[Entry, UnreadableEvent]]
    cursors: inbox.Prefetched | None = None


def read(entries: list[Entry], topic: str) -> Batch:
    """Read the envelopes in some entries."""
    batch = Batch(entries, [], [])
    for entry in entries:
        try:
            if entry.text is None:
                raise UnreadableEvent("It has been trimmed.")
            found = delivery.read(entry.text, topic)
            batch.deliveries.append(found._replace(added_at=entry.added_at))
        except UnreadableEvent as error:
            batch.unreadable.append((entry, error))
    return batch


class Consumer:
    """Consumes one stream for one subscriber.

    `run` until `stop`, or `drain` what there is now. `counts` says what became of events: handled,
    passed over (there is no handler), repeats, failures, deferred, dead letters.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        stream: str,
        *,
        bus: MessageBus,
        upcasters: Sequence[Upcaster] = (),
        breaker: Breaker | None = None,
    ) -> None:
        name = subscriber.name
        self.subscriber = subscriber
        self.stream = stream
        self.counts: Counter[str] = Counter()
        self.lease = Lease(connections.database(), f"consumer:{name}:{stream}", conf.LEASE)
        self._breaker = breaker or Breaker(name)
        self._runner = effects.runner(
            subscriber, bus=bus, upcasters=upcasters, breaker=self._breaker
        )
        self._group = ConsumerGroup(stream, name)
        self._cursors = inbox.Cursors(name, subscriber.topic)
        self._beginnings = Beginnings(subscriber, self._group, self._cursors)
        self._failures = Failures(subscriber, stream, self.counts, self._runner.unsettled)
        self._deferred = DeferredEvents(
            subscriber,
            stream,
            self._runner,
            self._failures,
            self._cursors,
            self._beginnings,
            self._may_go_on,
            self.counts,
        )
        self._outages = outages.Outages(f"{name} on {stream}", single=True)
        self._stopping = threading.Event()
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: Future[Batch] | None = None
        self._claim_at = 0.0

    def run(self) -> None:
        """Consume whenever the lease can be had, until `stop`. What goes wrong is logged."""
        while not self._stopping.is_set():
            wait = 1.0
            self._say_alive()
            try:
                if self._acquire():
                    self._hold()
                wait = random.uniform(0.5, 1.0) * min(1.0, conf.LEASE / 5)
            except Superseded:
                # Nothing of what is in hand has been acknowledged: who took over has it.
                logger.info(
                    "%s was superseded on %s.",
                    self.subscriber.name,
                    self.stream,
                    extra=self._log,
                )
            except StreamUnavailable as error:
                self._outages.began(error)
            except (StoreUnavailable, BrokerUnavailable) as error:
                outages.consumers.began(error)
            except Exception:
                # Any exception: a thread that ended here would leave its stream to nobody.
                logger.exception(
                    "%s failed on %s", self.subscriber.name, self.stream, extra=self._log
                )
            self._stopping.wait(wait)

    def stop(self) -> None:
        """Have `run` return once the event in hand is handled; the others are released."""
        self._stopping.set()

    def drain(self) -> Counter[str]:
        """Consume what there is now, deferred events that are due included, and return.

        Does nothing if another consumer has the lease. Raises `StoreUnavailable`,
        `BrokerUnavailable`, and `Superseded` if another takes it over meanwhile.
        """
        if self._acquire():
            self._hold(once=True)
        return self.counts

    @property
    def is_active(self) -> bool:
        """Whether it, of all consumers of the subscriber, has the stream."""
        return self.lease.held()

    def _acquire(self) -> bool:
        with connections.store_errors():
            return self.lease.acquire()

    def _hold(self, *, once: bool = False) -> None:
        """Consume for as long as the lease is ours and there is no reason to stop."""
        try:
            with connections.store_errors():
                self._runner.take_over(self.lease)
                if self.subscriber.is_projection and not swap.settled(self.subscriber.name):
                    # Its read model is being swapped, or whoever was at it has just died.
                    return
                self._take_over()
                self._outages.ended()
                outages.consumers.ended()
                while not self._stopping.is_set() and self.lease.keep():
                    self._say_alive()
                    if not self._consume(block=0 if once else BLOCK) and once:
                        break
                self._release()
        finally:
            # After an error: what was read ahead is unacknowledged, and read again as such.
            self._ahead = None
            with connections.store_errors():
                self.lease.release()

    def _take_over(self) -> None:
        """Begin with what others, or we before an error, have read and not acknowledged."""
        self._cursors.forget()
        # What was there before and isn't now, Redis has lost: a second beginning is from the start.
        name, topic = self.subscriber.name, self.subscriber.topic
        from_now = self.subscriber.start == "now"
        self._group.create(from_now=from_now and not inbox.has_begun(name, topic))
        # All of it, before any of it is handled again, or anything else is; read if it is wanted.
        in_hand = self._group.in_hand(conf.CONSUMER_BATCH)
        self._runner.doubt(one for entries in in_hand for one in read(entries, topic).deliveries)
        while entries := self._group.unacknowledged(conf.CONSUMER_BATCH):
            self._handle(read(entries, topic))
        self._claim(idle=0)
        self._handle(read(self._group.unacknowledged(conf.CONSUMER_BATCH), topic))
        self._group.forget_consumers()

    def _consume(self, block: float) -> bool:
        """Deferred events that are due, then a batch of the stream; False if there were none."""
        if (rest := self._breaker.rests_for) > 0:
            self._stopping.wait(min(rest, BLOCK))
            return False
        if not self._breaker.is_closed:
            return self._try_one()
        if time.monotonic() > self._claim_at:
            # A consumer that was paused in the middle of a read can be given entries when it has
            # long been taken over from.
            self._claim(idle=2 * conf.LEASE)
        worked = self._deferred.work_off()
        if self._breaker.rests_for > 0 or not self.lease.held():
            return worked
        batch = self._next(0 if worked else block)
        self._handle(batch)
        return worked or bool(batch.entries)

    def _try_one(self) -> bool:
        """See whether what the subscriber's handlers need is back; False if nothing is there."""
        self._release()
        self._breaker.let_one_try()
        # A new one rather than one that has failed before, and has so many attempts less.
        batch = read(self._group.read(1, 0), self.subscriber.topic)
        self._handle(batch)
        if batch.entries or self._deferred.work_off():
            return True
        self._stopping.wait(BLOCK / 5)
        return False

    def _next(self, block: float) -> Batch:
        """The next batch; while there are many, the one after it is read meanwhile."""
        ahead, self._ahead = self._ahead, None
        batch = ahead.result() if ahead else self._fetch(block)
        if batch.cursors:
            self._cursors.take(batch.cursors)
        if len(batch.entries) == conf.CONSUMER_BATCH:
            self._reader = self._reader or ThreadPoolExecutor(1, "ahead")
            self._ahead = self._reader.submit(self._fetch_ahead)
        return batch

    def _fetch(self, block: float) -> Batch:
        return read(self._group.read(conf.CONSUMER_BATCH, block), self.subscriber.topic)

    def _fetch_ahead(self) -> Batch:
        """A batch and its aggregates' cursors, both while the one before it is handled."""
        batch = self._fetch(0.0)
        ids = [one.aggregate_id for one in batch.deliveries]
        return batch._replace(cursors=self._cursors.prefetch(ids))

    def _release(self) -> None:
        """Give back what was read ahead: it is deferred, which is no attempt."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self.lease.held():
            batch = ahead.result()
            # Dying here: another consumer claims them.
            self._failures.defer(self._readable(batch))
            self._group.acknowledge(batch.entries)

    def _handle(self, batch: Batch) -> None:
        """Handle what is in turn, defer what isn't, and acknowledge all of it."""
        deliveries = self._readable(batch)
        if deliveries:
            found = self._arranged(deliveries)
            self._repeats(found.repeats)
            if not self.lease.held():
                raise Superseded
            notes = Notes(self.subscriber, self._cursors, self.counts)
            result = self._runner.run(found.in_turn, notes, self._may_go_on)
            if result.left and not self.lease.held():
                # Who has the lease now claims them.
                raise Superseded
            self._failures.settle(result, found.early, notes)
            self._deferred.follow(found.in_turn)
        # Dying here: all of it is delivered again, and found in the inbox or among the deferred.
        self._group.acknowledge(batch.entries)

    def _claim(self, idle: float) -> None:
        """Take over what a dead consumer has left: deferred, and counted as tried once.

        One of these may be what killed it: see `deferred_events` for how they are tried.
        """
        # Redis makes no difference between others and this one, which may be slow.
        own = {entry.id for entry in self._ahead.result().entries} if self._ahead else set[str]()
        for claimed in self._group.claim(idle, conf.CONSUMER_BATCH):
            entries = [entry for entry in claimed if entry.id not in own]
            found = self._arranged(self._readable(read(entries, self.subscriber.topic)))
            self._repeats(found.repeats)
            if left := len(found.in_turn) + len(found.early):
                logger.warning(
                    "%s takes over %s event%s that a dead consumer has left on %s.",
                    self.subscriber.name,
                    left,
                    "s" if left > 1 else "",
                    self.stream,
                    extra=self._log,
                )
            begun = min(1, self._failures.max_attempts - 1)
            self._failures.defer(found.in_turn, attempts=begun)
            self._failures.defer(found.early, wait=conf.GAP_TIMEOUT, early=True)
            self._group.acknowledge(entries)
        self._claim_at = time.monotonic() + 2 * conf.LEASE

    def _readable(self, batch: Batch) -> list[Delivery]:
        """The deliveries of a batch; what isn't one becomes a dead letter."""
        name, topic = self.subscriber.name, self.subscriber.topic
        for entry, error in batch.unreadable:
            if entry.text is None:
                logger.error(
                    "%s was trimmed from %s before %s could handle it: replay it from the archive.",
                    entry.id,
                    self.stream,
                    name,
                    extra=self._log,
                )
            else:
                self.counts["dead letters"] += 1
                dead_letters.store_unreadable(name, self.stream, topic, entry.id, entry.text, error)
        return batch.deliveries

    def _repeats(self, repeats: Sequence[Delivery]) -> None:
        """Nothing is to be done about a repeat, unless it is none."""
        self.counts["repeats"] += len(repeats)
        if not repeats:
            return
        signals.events_repeated.send_robust(self.subscriber.name, deliveries=repeats)
        for late in inbox.passed(self.subscriber.name, repeats):
            if not dead_letters.known(self.subscriber.name, late.event_id):
                self.counts["dead letters"] += 1
                error = GapPassed(f"Its subscriber had gone on without number {late.sequence}.")
                dead_letters.store(self.subscriber.name, self.stream, late, error, attempts=0)

    def _arranged(self, deliveries: Sequence[Delivery]) -> Arrangement:
        ids = [one.aggregate_id for one in deliveries]
        found = arrange(deliveries, self._cursors.look_up(ids))
        if found.early:
            # Unless somebody else has moved a cursor: while a topic is being spread over other
            # streams, those have consumers of their own.
            self._cursors.look_up((one.aggregate_id for one in found.early), afresh=True)
            self._beginnings.begin(deliveries)
            found = arrange(deliveries, self._cursors.look_up(ids))
        return found

    def _may_go_on(self) -> bool:
        """Whether the next event may be tried."""
        # Kept from here too: `drain` has no thread beside it that would.
        return not self._stopping.is_set() and self._breaker.rests_for == 0 and self.lease.keep()

    def _say_alive(self) -> None:
        telemetry.alive(f"consumer:{self.subscriber.name}")

    @property
    def _log(self) -> dict[str, str]:
        return {
            "action": "consume",
            "subscriber": self.subscriber.name,
            "topic": self.subscriber.topic,
            "stream": self.stream,
        }
