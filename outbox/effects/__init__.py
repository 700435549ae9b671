"""Effects: how events are given to a subscriber's handlers so that each has its effect once.

One module for each way, of one class each: `Embedded`, `Transactional`, `Recorded`. All take events
that are in turn, and leave alone those of an aggregate behind one that failed.
"""

from collections.abc import Sequence

from outbox.breaker import Breaker
from outbox.effects.base import EffectRunner, Notes, Result
from outbox.effects.embedded import Embedded
from outbox.effects.recorded import Recorded
from outbox.effects.transactional import Transactional
from outbox.message_bus import MessageBus
from outbox.subscriber import Effect, Subscriber
from outbox.upcasting import Upcaster

__all__ = ["EffectRunner", "Notes", "Result", "runner"]


def runner(
    subscriber: Subscriber, *, bus: MessageBus, upcasters: Sequence[Upcaster], breaker: Breaker
) -> EffectRunner:
    """The runner for the subscriber's kind of effect."""
    if subscriber.effect is Effect.EMBEDDED:
        return Embedded(subscriber, upcasters, breaker, bus)
    kind = Transactional if subscriber.effect is Effect.TRANSACTIONAL else Recorded
    return kind(subscriber, upcasters, breaker)
