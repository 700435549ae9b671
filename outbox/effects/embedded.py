"""The embedded effect: the aggregate that a command changes remembers the event, in one write."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from outbox import context, dead_letters, deferred
from outbox.breaker import Breaker
from outbox.context import ConsumerInbox
from outbox.delivery import Delivery
from outbox.effects.base import EffectRunner, GoOn, Notes, Result
from outbox.errors import AlreadyHandled, MessagingError
from outbox.lease import Lease
from outbox.message_bus import MessageBus
from outbox.messages import Command
from outbox.subscriber import Subscriber
from outbox.upcasting import Upcaster

#: Events between two notes: so many are tried again, and refused, after a death.
CHUNK = 20


class Embedded(EffectRunner):
    """Sends the commands that handlers return, each under the event's id.

    Documents remember the event for as long as a repeat can come, however many others change them
    meanwhile. What can come again has begun and isn't noted, and the consumer knows what that is:
    it has begun it itself, or finds it with what a dead one has left, among the deferred, or among
    the dead letters. A document has a list for each stream, to which only its consumer writes.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        upcasters: Sequence[Upcaster],
        breaker: Breaker,
        bus: MessageBus,
    ) -> None:
        super().__init__(subscriber, upcasters, breaker)
        self._bus = bus
        self._inbox: ConsumerInbox | None = None

    def take_over(self, lease: Lease) -> None:
        """Find out what may have had its effect without being noted."""
        name = self.subscriber.name
        self.unsettled.clear()
        self.unsettled.update(deferred.begun(name), dead_letters.unsettled(name))
        # The key is part of a path in the document.
        key = lease.name.removeprefix("consumer:").replace(".", "_").replace("$", "_")
        self._inbox = ConsumerInbox(key, self.unsettled, lease.keep)

    def doubt(self, deliveries: Iterable[Delivery]) -> None:
        """What was in hand when this consumer took over: another's, or its own before an error."""
        self.unsettled.update(one.event_id for one in deliveries)

    def _run(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result:
        begun = {one.event_id for one in deliveries} - self.unsettled
        self.unsettled |= begun
        result = self._handle(deliveries, notes, go_on)
        self.unsettled -= begun & {one.event_id for one in result.left}
        return result

    def _handle(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result:
        result, done = Result(), list[Delivery]()
        for delivery in deliveries:
            if delivery.aggregate_id in result.blocked or not go_on():
                result.leave(delivery)
                continue
            try:
                if self.wants(delivery):
                    self._send(delivery)
            except Exception as error:
                # Any exception: it is the handler's, and the policy for it is the consumer's.
                self.failed(result, delivery, error)
                continue
            done.append(delivery)
            if len(done) == CHUNK:
                self._note(done, notes)
                done = []
        self._note(done, notes)
        return result

    def _note(self, done: Sequence[Delivery], notes: Notes) -> None:
        # Dying here: delivered again, and refused by the documents that remember them.
        notes.keep(done)
        self.unsettled.difference_update(one.event_id for one in done)

    def conversation(self, delivery: Delivery) -> AbstractContextManager[object]:
        """Nothing more: `_send` has opened it for the handler and its commands together."""
        return nullcontext()

    def _send(self, delivery: Delivery) -> None:
        fresh = False
        with (
            super().conversation(delivery),
            context.use(replace(context.current(), inbox=self._inbox)),
        ):
            for command in self._commands(delivery):
                try:
                    self._bus.handle(command, message_id=delivery.event_id)
                except AlreadyHandled as repeat:
                    # A repeat repeats them in the same order: those done before come first.
                    if fresh:
                        raise MessagingError(
                            f"Two commands for {repeat.aggregate_id} were returned for one "
                            f"{delivery.type}: a document takes one command from an event."
                        ) from None
                else:
                    fresh = True
        self.succeeded()

    def _commands(self, delivery: Delivery) -> list[Command]:
        wanted = "an embedded handler returns a command, several, or None."
        return self.several(delivery, (Command,), wanted)
