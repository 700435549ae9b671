"""Failures: what becomes of events that a subscriber couldn't handle, or not yet."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from outbox import backoff, clock, connections, dead_letters, deferred, signals
from outbox.conf import conf
from outbox.deferred import Deferred
from outbox.delivery import Delivery
from outbox.effects import Notes, Result
from outbox.subscriber import Subscriber

logger = logging.getLogger(__name__)


class Failures:
    """Defers events that are to be tried again, and makes dead letters of the others."""

    def __init__(
        self,
        subscriber: Subscriber,
        stream: str,
        counts: Counter[str],
        unsettled: Collection[str],
    ) -> None:
        self.subscriber = subscriber
        self.stream = stream
        self.counts = counts
        self._unsettled = unsettled
        #: Whether anything is deferred, as far as is known.
        self.something_deferred = True

    @property
    def max_attempts(self) -> int:
        """How often an event is tried if nothing is said for its error."""
        given = self.subscriber.max_attempts
        return conf.MAX_ATTEMPTS if given is None else given

    def settle(self, result: Result, early: Sequence[Delivery], notes: Notes) -> None:
        """See to it that none of these events is lost once they are acknowledged."""
        waits = {event.aggregate_id for event in result.away}
        for event, error in result.failed:
            if not self.failed(event, error, notes, attempts=1):
                waits.add(event.aggregate_id)
        self.defer(result.away, wait=backoff.delay(1))
        behind = [event for event in result.left if event.aggregate_id in waits]
        self.defer([event for event in result.left if event.aggregate_id not in waits])
        # Due now: whoever works off what is due puts them off until the one before them is.
        self.defer(behind, early=True)
        self.defer(early, wait=conf.GAP_TIMEOUT, early=True)

    def defer(
        self,
        events: Sequence[Delivery],
        *,
        wait: float = 0.0,
        attempts: int = 0,
        early: bool = False,
        error: str = "",
    ) -> None:
        """Have events wait for so many seconds, or if they are `early`, for their turn."""
        if not events:
            return
        self.counts["deferred"] += len(events)
        self.something_deferred = True
        deferred.put(
            self.subscriber.name,
            self.stream,
            events,
            due_at=_in(wait),
            attempts=attempts,
            early=early,
            begun=self._unsettled,
            last_error=error,
        )

    def failed(
        self,
        event: Delivery,
        error: Exception,
        notes: Notes,
        *,
        attempts: int,
        waiting: Deferred | None = None,
    ) -> bool:
        """An attempt has failed: another later, or a dead letter; says whether it is one.

        `waiting` is the event among the deferred, if it is there already.
        """
        self.counts["failures"] += 1
        if attempts >= self.subscriber.attempts_for(error, self.max_attempts):
            self.give_up(event, error, notes, attempts=attempts, waiting=waiting)
            return True
        signals.event_failed.send_robust(
            self.subscriber.name, delivery=event, attempts=attempts, error=error
        )
        text, wait = dead_letters.described(error), backoff.delay(attempts)
        logger.warning(
            "%s failed on %s, attempt %s of %s, next in %.1f s: %s",
            self.subscriber.name,
            event.named,
            attempts,
            self.subscriber.attempts_for(error, self.max_attempts),
            wait,
            text,
            # Once is enough to find the place; the dead letter has it too.
            exc_info=error if attempts == 1 else None,
            extra=event.log
            | {"action": "handle", "subscriber": self.subscriber.name, "attempt": attempts},
        )
        if waiting is None:
            self.defer([event], wait=wait, attempts=attempts, error=text)
        else:
            deferred.put_off(waiting, _in(wait), last_error=text)
        return False

    def give_up(
        self,
        event: Delivery,
        error: Exception,
        notes: Notes,
        *,
        attempts: int,
        waiting: Deferred | None = None,
    ) -> None:
        """Make a dead letter of it, and let those behind it go on."""
        self.counts["dead letters"] += 1
        dead_letters.store(
            self.subscriber.name,
            self.stream,
            event,
            error,
            attempts=attempts,
            first_failed_at=waiting.since if waiting else None,
        )
        # Dying here, or before the next: tried, or given up, again; there is one dead letter.
        notes.pass_over(event)
        if waiting is not None:
            deferred.remove(waiting)


def _in(seconds: float) -> datetime:
    return clock.now(connections.database()) + timedelta(seconds=seconds)
