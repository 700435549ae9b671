"""The embedded effect: the aggregate that a command changes remembers the event, in one write."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from outbox.breaker import Breaker
from outbox.delivery import Delivery
from outbox.effects.base import EffectRunner, GoOn, Notes, Result
from outbox.errors import AlreadyHandled, MessagingError
from outbox.message_bus import MessageBus
from outbox.messages import Command
from outbox.subscriber import Subscriber
from outbox.upcasting import Upcaster

#: Events between two notes. A document remembers the last OUTBOX_HANDLED messages (100), and what
#: was handled since the last note must be among them if it comes again.
CHUNK = 20


class Embedded(EffectRunner):
    """Sends the commands that handlers return, each under the event's id."""

    def __init__(
        self,
        subscriber: Subscriber,
        upcasters: Sequence[Upcaster],
        breaker: Breaker,
        bus: MessageBus,
    ) -> None:
        super().__init__(subscriber, upcasters, breaker)
        self._bus = bus

    def _run(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result:
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
                # Dying here: delivered again, and refused by the documents that remember them.
                notes.keep(done)
                done = []
        notes.keep(done)
        return result

    def conversation(self, delivery: Delivery) -> AbstractContextManager[object]:
        """Nothing more: `_send` has opened it for the handler and its commands together."""
        return nullcontext()

    def _send(self, delivery: Delivery) -> None:
        fresh = False
        with super().conversation(delivery):
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
