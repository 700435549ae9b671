"""The recorded effect: done first, noted afterwards; for what MongoDB has no part in."""

from collections.abc import Sequence
from typing import Any

from outbox.delivery import Delivery
from outbox.effects.base import EffectRunner, GoOn, Notes, Result
from outbox.messages import Command


class Recorded(EffectRunner):
    """Calls handlers that do what they do: at least once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        #: Done, and then MongoDB wasn't there to note it: not to be done again by this process.
        self._unnoted: set[str] = set()

    def _run(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result:
        result, passed = Result(), list[Delivery]()
        for delivery in deliveries:
            if delivery.aggregate_id in result.blocked or not go_on():
                result.leave(delivery)
            elif not self.wants(delivery):
                passed.append(delivery)
            else:
                # What was passed over needs no notes of its own until there is something to note.
                self._one([*passed, delivery], notes, result)
                passed = []
        notes.keep(passed)
        return result

    def _one(self, deliveries: list[Delivery], notes: Notes, result: Result) -> None:
        *passed, delivery = deliveries
        try:
            if delivery.event_id not in self._unnoted:
                returned = self.call(delivery)
                self._unnoted.add(delivery.event_id)
                if isinstance(returned, Command):
                    self.refuse(returned, delivery, "nobody sends it; make the effect EMBEDDED.")
        except Exception as error:
            # Any exception: it is the handler's, and the policy for it is the consumer's.
            self.failed(result, delivery, error)
            notes.keep(passed)
        else:
            # Dying here: the letter is sent, and is sent again when the event is delivered again.
            notes.keep(deliveries)
            self._unnoted.discard(delivery.event_id)
            self.succeeded()
