"""Working off what is deferred: in order, each attempt counted before it is made.

One by one, since any may be what its consumer died of. But what has hardly been tried is tried
together first: a dead consumer may have left hundreds, and most of the time it died of none. And
what may have killed two processes isn't tried before the third has been there for as long as a
lease lasts, so that others are handled between one death and the next.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from pymongo.client_session import ClientSession

from outbox import backoff, clock, connections, dead_letters, deferred, inbox, signals
from outbox.beginnings import Beginnings
from outbox.conf import conf
from outbox.deferred import Deferred
from outbox.delivery import Delivery
from outbox.effects import EffectRunner, Notes, Result
from outbox.effects.base import GoOn
from outbox.errors import ProcessDied, StoreUnavailable
from outbox.failures import Failures
from outbox.gap_reports import GapReports
from outbox.sequencing import arrange
from outbox.subscriber import Subscriber
from outbox.telemetry import telemetry

logger = logging.getLogger(__name__)

#: Deferred events that are looked at before the stream is read again.
AT_A_TIME = 100
#: Seconds between two looks when nothing is known to be deferred: a dead letter may be replayed.
LOOK_EVERY = 0.2
#: Attempts that haven't come to their end from which on others are handled first.
SUSPECT = 2
#: When this process began.
STARTED = time.monotonic()


class DeferredEvents:
    """The deferred events of one consumer, which has the lease."""

    def __init__(
        self,
        subscriber: Subscriber,
        stream: str,
        runner: EffectRunner,
        failures: Failures,
        cursors: inbox.Cursors,
        beginnings: Beginnings,
        go_on: GoOn,
        counts: Counter[str],
    ) -> None:
        self._subscriber = subscriber
        self._stream = stream
        self._runner = runner
        self._failures = failures
        self._cursors = cursors
        self._beginnings = beginnings
        self._gaps = GapReports(subscriber.name, stream)
        self._go_on = go_on
        self._counts = counts
        self._look_again_at = 0.0
        #: Those whose last attempt ended because MongoDB was away: it doesn't count.
        self._blameless: set[str] = set()

    def work_off(self) -> bool:
        """Try those that are due; says whether there were any."""
        if not self._failures.something_deferred and time.monotonic() < self._look_again_at:
            return False
        self._look_again_at = time.monotonic() + LOOK_EVERY
        # Gaps of the last rounds that were told too soon after others.
        self._gaps.tell()
        name, now = self._subscriber.name, clock.now(connections.database())
        found = deferred.due(name, self._stream, now, AT_A_TIME)
        if self._failures.something_deferred and not found:
            self._failures.something_deferred = deferred.any_of(name, self._stream)
        together, done = self._together(found), set[str]()
        for one in found:
            # A dead letter that is replayed is put there by another process.
            self._failures.something_deferred = True
            if not self._go_on():
                break
            if one.id in together:
                continue
            if one.replays:
                self._replay(one)
            elif one.delivery.aggregate_id not in done:
                done.add(one.delivery.aggregate_id)
                self._work_off(one.delivery.aggregate_id)
        self._gaps.tell()
        return bool(found)

    def _together(self, found: Sequence[Deferred]) -> set[str]:
        """Try those at once that are in turn and hardly tried: their ids."""
        places = {
            (one.delivery.aggregate_id, one.delivery.sequence): one
            for one in found
            if self._is_hardly_tried(one)
        }
        cursors = self._cursors.look_up(aggregate_id for aggregate_id, _ in places)
        in_turn = arrange((one.delivery for one in places.values()), cursors).in_turn
        if len(in_turn) < 2:
            return set()

        def those(events: Iterable[Delivery]) -> list[Deferred]:
            return [places[one.aggregate_id, one.sequence] for one in events]

        def handled(done: Sequence[Delivery], session: ClientSession | None) -> None:
            deferred.remove(*those(done), session=session)

        chosen = those(in_turn)
        due_again = clock.after(connections.database(), backoff.delay(2))
        deferred.begin_all(chosen, due_at=due_again)
        notes = Notes(self._subscriber, self._cursors, self._counts)
        notes.also = handled
        try:
            # Dying here: all are due again, with one attempt more, and are tried one by one then.
            with connections.store_errors():
                result = self._runner.run(in_turn, notes, self._go_on, attempt=2)
                notes.also = None
                for event, error in result.failed:
                    [one] = those([event])
                    attempts = one.attempts + 1
                    self._failures.failed(event, error, notes, attempts=attempts, waiting=one)
                if result.away:
                    later = clock.after(connections.database(), backoff.delay(1))
                    deferred.put_back(those(result.away), due_at=later)
                if result.left:
                    now = clock.now(connections.database())
                    deferred.put_back(those(result.left), due_at=now)
        except StoreUnavailable:
            self._blameless.update(one.id for one in chosen)
            raise
        name, ids = self._subscriber.name, [event.aggregate_id for event in in_turn]
        for aggregate_id in deferred.aggregates_of(name, self._stream, ids, early=True):
            self._work_off(aggregate_id)
        return {one.id for one in chosen}

    def _is_hardly_tried(self, one: Deferred) -> bool:
        """Whether it has attempts left for whatever may happen to others that are tried with it."""
        return (
            one.attempts <= 1
            and one.attempts + 3 <= self._failures.max_attempts
            and not (one.replays or one.early or one.last_error or one.id in self._blameless)
        )

    def follow(self, handled: Iterable[Delivery]) -> None:
        """Go on with what has waited for these, which have just come off the stream."""
        if self._failures.something_deferred:
            name, ids = self._subscriber.name, [event.aggregate_id for event in handled]
            for aggregate_id in deferred.aggregates_of(name, self._stream, ids):
                self._work_off(aggregate_id)

    def _work_off(self, aggregate_id: str) -> None:
        """Try an aggregate's events in order, until one has to wait."""
        name = self._subscriber.name
        while self._go_on():
            first = deferred.first_of(name, self._stream, aggregate_id)
            if first is None:
                return
            cursors = self._cursors.look_up([aggregate_id])
            number = first.delivery.sequence
            known = cursors.get(aggregate_id, 0)
            if number > known + 1:
                # The consumer of another stream may have moved it, if the topic has been spread
                # over others.
                self._cursors.look_up([aggregate_id], afresh=True)
                self._beginnings.begin([first.delivery])
                cursors = self._cursors.look_up([aggregate_id])
                known = cursors.get(aggregate_id, 0)
            if number <= known:
                self._counts["repeats"] += 1
                signals.events_repeated.send_robust(name, deliveries=[first.delivery])
                deferred.remove(first)
            elif number > known + 1:
                if not self._passes(first, known, new=aggregate_id not in cursors):
                    return
            elif not first.early and first.due_at > clock.now(connections.database()):
                deferred.put_off_behind(name, self._stream, first)
                return
            elif not self._attempt(first, Notes(self._subscriber, self._cursors, self._counts)):
                return

    def _replay(self, one: Deferred) -> None:
        """Try what was a dead letter; its aggregate may have gone on long since."""
        event, name = one.delivery, self._subscriber.name
        if inbox.has(name, event.event_id):
            self._finish(one, None)
            return
        cursors = self._cursors.look_up([event.aggregate_id])
        in_turn = cursors.get(event.aggregate_id, 0) + 1 == event.sequence
        notes = Notes(self._subscriber, self._cursors, self._counts, advancing=in_turn)
        self._attempt(one, notes)

    def _attempt(self, one: Deferred, notes: Notes) -> bool:
        """Count the attempt, then make it; whether the aggregate's next may go on."""
        counted = one.id not in self._blameless
        attempts = one.attempts + counted
        if attempts > self._failures.max_attempts and not one.last_error:
            # Whatever fails and lives to tell is given up when it fails for the last time.
            died = ProcessDied()
            self._failures.give_up(one.delivery, died, notes, attempts=one.attempts, waiting=one)
            return True
        if one.attempts and not one.last_error:
            wait = STARTED + conf.LEASE - time.monotonic()
            if wait > 0 and one.attempts >= SUSPECT and one.id not in self._blameless:
                deferred.put_off(one, clock.after(connections.database(), wait))
                return False
            logger.warning(
                "%s tries %s by itself, attempt %s: the process may have died of it before",
                self._subscriber.name,
                one.delivery.named,
                attempts,
                extra=one.delivery.log
                | {"action": "handle", "subscriber": self._subscriber.name, "attempt": attempts},
            )
            if one.attempts >= SUSPECT:
                telemetry.flush()  # or it may die with what it has counted
        # Who dies of the last attempt has it known at once that there is none to come.
        wait = backoff.delay(max(1, attempts)) if attempts < self._failures.max_attempts else 0.0
        due_again = clock.after(connections.database(), wait)
        if not deferred.begin(one, due_at=due_again, counted=counted):
            return True
        notes.also = lambda _, session: self._finish(one, session)
        try:
            # Dying here: due again, with one attempt more.
            with connections.store_errors():
                result = self._runner.run([one.delivery], notes, lambda: True, attempt=attempts)
                notes.also = None
                may_go_on = self._settle(one, result, notes, attempts)
        except StoreUnavailable:
            self._blameless.add(one.id)
            raise
        self._blameless.discard(one.id)
        return may_go_on

    def _settle(self, one: Deferred, result: Result, notes: Notes, attempts: int) -> bool:
        """Note what became of an attempt; whether the aggregate's next may go on."""
        if result.away:
            due_at = clock.after(connections.database(), backoff.delay(1))
            # As before, also what it last failed with: this was no attempt.
            deferred.put_off(one, due_at, attempts=one.attempts, last_error=one.last_error)
            return False
        for event, error in result.failed:
            return self._failures.failed(event, error, notes, attempts=attempts, waiting=one)
        return True

    def _finish(self, one: Deferred, session: ClientSession | None) -> None:
        deferred.remove(one, session=session)
        if one.replays:
            dead_letters.replayed(one.replays, session)

    def _passes(self, first: Deferred, known: int, *, new: bool) -> bool:
        """Whether to go on without what is missing before `first`."""
        event, name = first.delivery, self._subscriber.name
        now, patience = clock.now(connections.database()), timedelta(seconds=conf.GAP_TIMEOUT)
        if now < first.since + patience:
            deferred.put_off(first, first.since + patience, early=True)
            deferred.put_off_behind(
                name, self._stream, first._replace(due_at=first.since + patience)
            )
            return False
        waited = (now - first.since).total_seconds()
        self._gaps.add(event, missing=known + 1, waited=waited, is_new=not first.alerted)
        if not first.alerted:
            signals.gap_timed_out.send_robust(
                name, delivery=event, missing=known + 1, policy=conf.GAP_POLICY
            )
        if conf.GAP_POLICY == "pass":
            last = event.sequence - 1
            inbox.go_past(name, event.topic, event.aggregate_id, known, last, new=new)
            self._cursors[event.aggregate_id] = last
            return True
        deferred.put_off(first, now + patience, alerted=True, early=True)
        deferred.put_off_behind(name, self._stream, first._replace(due_at=now + patience))
        return False
