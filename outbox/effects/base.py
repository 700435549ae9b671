"""What the kinds of effect have in common: calling a handler, and saying what became of events."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from typing import Any, NoReturn

from pymongo.client_session import ClientSession

from outbox import clock, connections, context, inbox, signals, tracing
from outbox.breaker import Breaker
from outbox.delivery import Delivery
from outbox.errors import MessagingError, OutboxFull, Superseded, UnreadableEvent
from outbox.lease import Lease
from outbox.subscriber import Subscriber
from outbox.upcasting import Upcaster, event_of

GoOn = Callable[[], bool]


@dataclass
class Result:
    """What became of events: those that aren't named here have been handled, or passed over."""

    #: Tried, and failed.
    failed: list[tuple[Delivery, Exception]] = field(default_factory=list)
    #: Tried, and what the handler needs was away.
    away: list[Delivery] = field(default_factory=list)
    #: Not tried: behind one of those, or it was time to stop.
    left: list[Delivery] = field(default_factory=list)
    blocked: set[str] = field(default_factory=set)

    def leave(self, delivery: Delivery) -> None:
        """Don't try this one, nor those behind it."""
        self.left.append(delivery)
        self.blocked.add(delivery.aggregate_id)


class Notes:
    """The inbox's side of some events: what is noted once they have been handled.

    `cursors` is how far each aggregate has come; `also` is something more that is written with it.
    Without `advancing`, the cursors stay where they are.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        cursors: dict[str, int],
        counts: Counter[str],
        *,
        advancing: bool = True,
    ) -> None:
        self._subscriber = subscriber
        self._cursors = cursors
        self._counts = counts
        self._advancing = advancing
        self._known = {event.message_name for event in subscriber.handlers}
        self.also: Callable[[Sequence[Delivery], ClientSession | None], None] | None = None

    def take(self, done: Sequence[Delivery], session: ClientSession | None = None) -> None:
        """Write the notes: three requests, and one for each other kind of step of a cursor."""
        inbox.note(self._subscriber.name, [one for one in done if self._is_handled(one)], session)
        if self._advancing:
            self._advance(done, session)
        if self.also is not None:
            self.also(done, session)

    def taken(self, done: Sequence[Delivery]) -> None:
        """The notes are durable: go on from there."""
        if self._advancing:
            self._cursors.update(inbox.last_of(done))
        handled = [one for one in done if self._is_handled(one)]
        self._counts["handled"] += len(handled)
        self._counts["passed over"] += len(done) - len(handled)
        if handled:
            at = clock.now(connections.database())
            signals.events_handled.send_robust(self._subscriber.name, deliveries=handled, at=at)

    def keep(self, done: Sequence[Delivery]) -> None:
        """Write the notes where no transaction holds them together with the effect."""
        if done:
            self.take(done)
            self.taken(done)

    def are_stale(self, events: Sequence[Delivery]) -> bool:
        """Whether somebody else has moved a cursor of these events' aggregates."""
        name, topic = self._subscriber.name, self._subscriber.topic
        ids = {event.aggregate_id for event in events}
        known = {one: last for one, last in self._cursors.items() if one in ids}
        return inbox.cursors(name, topic, ids) != known

    def pass_over(self, one: Delivery) -> None:
        """Go on without this one, which has become a dead letter."""
        if self._advancing:
            # Everything before it has been dealt with, else it would not have been tried.
            self._advance([one], None)
            self._cursors.update(inbox.last_of([one]))

    def _advance(self, done: Sequence[Delivery], session: ClientSession | None) -> None:
        name, topic = self._subscriber.name, self._subscriber.topic
        inbox.advance(name, topic, self._cursors, inbox.last_of(done), session)

    def _is_handled(self, one: Delivery) -> bool:
        return one.type in self._known and one.payload is not None


class EffectRunner(ABC):
    """Gives events to a subscriber's handlers, and takes notes as its kind of effect wants them."""

    def __init__(
        self, subscriber: Subscriber, upcasters: Sequence[Upcaster], breaker: Breaker
    ) -> None:
        self.subscriber = subscriber
        self._upcasters = upcasters
        self._breaker = breaker
        #: The ids of events that may have had their effect, or a part of it, without a note. Only
        #: kinds of effect that have to know keep it.
        self.unsettled: set[str] = set()
        self._attempt = 1
        self._traced = False
        self._handlers = {
            event.message_name: (event, handler) for event, handler in subscriber.handlers.items()
        }

    def run(
        self,
        deliveries: Sequence[Delivery],
        notes: Notes,
        go_on: GoOn,
        *,
        attempt: int = 1,
    ) -> Result:
        """Handle `deliveries`, which are in turn, for as long as `go_on()`.

        `attempt` is how often they have been tried with this time. Raises `StoreUnavailable` and
        `Superseded`: what has not been noted then is delivered again.
        """
        self._attempt = attempt
        self._traced = tracing.is_on()
        return self._run(deliveries, notes, go_on)

    @abstractmethod
    def _run(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result: ...

    def take_over(self, lease: Lease) -> None:  # noqa: B027 - most have nothing to clear away
        """Clear away what a dead holder of the lease may have left: called by the new one."""

    def doubt(self, deliveries: Iterable[Delivery]) -> None:  # noqa: B027 - most have no doubts
        """Somebody was at these: they may have had their effect, without a note."""

    def wants(self, delivery: Delivery) -> bool:
        """Whether there is a handler for it; there is none for a tombstone."""
        if delivery.flaw:
            return True
        return delivery.type in self._handlers and delivery.payload is not None

    def call(self, delivery: Delivery, *more: Any) -> Any:
        """Call the handler for this event, in the conversation that the event belongs to."""
        if delivery.flaw:
            raise UnreadableEvent(delivery.flaw)
        event_class, handler = self._handlers[delivery.type]
        event = event_of(event_class, delivery, self._upcasters)
        try:
            with self.conversation(delivery):
                return handler(event, delivery, *more)
        except Exception:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and current_thread() is main_thread():
                raise
            # Else it would end the thread, and nobody would read the stream any more.
            raise RuntimeError(f"The handler raised {error!r}.") from error

    def conversation(self, delivery: Delivery) -> AbstractContextManager[object]:
        """In force while an event is handled: its context for what it causes, and its span."""
        if self.subscriber.is_projection and not (self._traced and tracing.is_sampled(delivery)):
            # Causes nothing but writes, and there are many of them.
            return nullcontext()
        return self._conversation(delivery)

    @contextmanager
    def _conversation(self, delivery: Delivery) -> Iterator[None]:
        with (
            context.use(delivery.context()),
            tracing.handling_event(delivery, self.subscriber.name, self._attempt),
        ):
            yield

    def several(self, delivery: Delivery, kinds: tuple[type[Any], ...], wanted: str) -> list[Any]:
        """What the handler returns for this event, as a list: nothing but such `kinds`."""
        returned = self.call(delivery)
        if returned is None:
            return []
        if isinstance(returned, kinds):
            return [returned]
        found = list(returned) if isinstance(returned, list | tuple | Generator) else [returned]
        for one in found:
            if not isinstance(one, kinds):
                self.refuse(one, delivery, wanted)
        return found

    def refuse(self, returned: Any, delivery: Delivery, wanted: str) -> NoReturn:
        """A handler has returned what nobody can do anything with. Raises `MessagingError`."""
        _, handler = self._handlers[delivery.type]
        name = getattr(handler, "__qualname__", repr(handler))
        raise MessagingError(
            f"{name} returned {type(returned).__name__} for {delivery.type}: {wanted}"
        )

    def succeeded(self) -> None:
        self._breaker.succeeded()

    def failed(self, result: Result, delivery: Delivery, error: Exception) -> None:
        """Note that a handler has failed.

        MongoDB being away isn't the handler's fault; but that shows when the failure is to be
        stored. If it can be, the handler has asked for something that takes too long.
        """
        if isinstance(error, Superseded):
            raise error
        away = isinstance(error, self.subscriber.unavailable)
        # A document that is full has room again once the relay has caught up; others have it now.
        full = isinstance(error, OutboxFull)
        if away or full:
            result.away.append(delivery)
        else:
            result.failed.append((delivery, error))
        result.blocked.add(delivery.aggregate_id)
        # What one event does again and again says nothing of the others; and a letter with a wrong
        # address says nothing of the post.
        final = self.subscriber.attempts_for(error, default=2) == 1
        if away or not (full or final or (self._attempt > 1 and self._breaker.is_closed)):
            self._breaker.failed(error)
