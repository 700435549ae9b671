"""The subscriber: who wants which events of a topic, and what having handled one means.

A subscriber's name is its Redis consumer group and its key in the inbox; renaming one makes a new
subscriber, which sees the whole stream again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import signature
from typing import Any, Literal

from outbox.errors import DomainError, MessagingError, UnreadableEvent
from outbox.mapping import TOPIC
from outbox.messages import IntegrationEvent

NAME = re.compile(r"[a-z][a-z0-9_-]*")

Handler = Callable[..., Any]


class Effect(StrEnum):
    """How the effect of an event and the note that it has been handled become one."""

    #: The handler returns commands; the aggregate's own document remembers the event, in the
    #: same write. Needs no transaction.
    EMBEDDED = "embedded"
    #: Effect and note are one MongoDB transaction, for a batch of events at a time.
    TRANSACTIONAL = "transactional"
    #: The note is taken after the effect (a letter, an HTTP call): at least once.
    RECORDED = "recorded"


EMBEDDED, TRANSACTIONAL, RECORDED = Effect

#: Exceptions that another attempt won't change anything about.
FINAL: tuple[type[Exception], ...] = (DomainError, MessagingError, UnreadableEvent)


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """A row of the table `subscribes` in an app's `messaging.py`.

    `handlers` says what is called for which event; events of other types are passed over. Each is
    called as `handler(event, delivery)`, the event as an instance of its class and the `Delivery`
    with what is known beside it. What a handler does and returns depends on the `effect`:

    - EMBEDDED: it returns a command, several for different aggregates, or None.
    - TRANSACTIONAL with a `collection`, a projection: it returns write operations on that
      collection (`pymongo.UpdateOne` …), several, or None. All of a batch are one `bulk_write`.
    - TRANSACTIONAL without: it is called with a third argument, the session of the transaction,
      which it passes on to whatever it does in MongoDB. It may be run again.
    - RECORDED: it does it. Dying before the note is taken does it again.

    Failing, an event is tried `max_attempts` times (`OUTBOX_MAX_ATTEMPTS` unless given) and then
    becomes a dead letter; `attempts` says otherwise by class of exception, 1 meaning at once, as it
    is for a `DomainError`, a `MessagingError` and an `UnreadableEvent`. Exceptions of the classes
    in `unavailable` say that what the handler needs is away: they are nobody's failed attempt, and
    the circuit breaker opens.

    `start="now"` lets a new subscriber begin with the next event instead of with the oldest.
    """

    name: str
    topic: str
    effect: Effect
    handlers: Mapping[type[IntegrationEvent], Handler]
    collection: str | None = None
    indexes: Sequence[Any] = ()
    start: Literal["beginning", "now"] = "beginning"
    max_attempts: int | None = None
    attempts: Mapping[type[Exception], int] = field(default_factory=dict)
    unavailable: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)

    def __post_init__(self) -> None:
        if self.effect not in tuple(Effect):
            raise MessagingError(
                f"The subscriber {self.name} has the effect {self.effect!r}: it is one of "
                f"{', '.join(one.name for one in Effect)}."
            )
        object.__setattr__(self, "effect", Effect(self.effect))
        if self.start not in ("beginning", "now"):
            raise MessagingError(
                f'The subscriber {self.name} starts {self.start!r}: it is "beginning" or "now".'
            )
        given = [] if self.max_attempts is None else [self.max_attempts]
        if any(attempts < 1 for attempts in (*given, *self.attempts.values())):
            raise MessagingError(f"The subscriber {self.name} tries less than once.")
        self._check_handlers()
        for kind, text, pattern in (("name", self.name, NAME), ("topic", self.topic, TOPIC)):
            if not pattern.fullmatch(text):
                raise MessagingError(
                    f"{text!r} can't be a subscriber's {kind}: use lower-case letters, digits, "
                    "'-' and '_', and begin with a letter."
                )
        if self.collection is not None and self.effect is not TRANSACTIONAL:
            raise MessagingError(
                f"The subscriber {self.name} has a collection and is {self.effect}: only a "
                "projection, which is transactional, has one."
            )
        if len({event.message_name for event in self.handlers}) < len(self.handlers):
            raise MessagingError(
                f"The subscriber {self.name} has two handlers for events of one name: keep the "
                "one for the newest version, and give older events an upcaster."
            )

    def _check_handlers(self) -> None:
        arguments = 3 if self.effect is TRANSACTIONAL and self.collection is None else 2
        for event, handler in self.handlers.items():
            if not (isinstance(event, type) and issubclass(event, IntegrationEvent)):
                raise MessagingError(
                    f"The subscriber {self.name} has a handler for {event!r}, which isn't a class "
                    "of integration events: those are what comes off a stream."
                )
            try:
                signature(handler).bind(*range(arguments))
            except (TypeError, ValueError) as error:
                taken = "event, delivery, session" if arguments == 3 else "event, delivery"
                raise MessagingError(
                    f"The subscriber {self.name} calls its handler for {event.__name__} with "
                    f"({taken}), and {handler!r} can't be called so: {error}."
                ) from None

    def attempts_for(self, error: Exception, default: int) -> int:
        """How often an event that fails like this is tried, where nothing is said: `default`."""
        for kind, attempts in self.attempts.items():
            if isinstance(error, kind):
                return attempts
        if isinstance(error, FINAL):
            return 1
        return default if self.max_attempts is None else self.max_attempts

    @property
    def is_projection(self) -> bool:
        """Whether it builds a read model, which can be built anew."""
        return self.collection is not None
