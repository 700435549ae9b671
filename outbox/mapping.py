"""Event mapping: from a private domain event to the messages that others may read.

Mapping runs in the command's own context, before the write: the relay then needs no queries and
no knowledge of the domain, and a message shows the aggregate as it was when the event happened.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from outbox.aggregate import Aggregate
from outbox.errors import MessagingError, UnmappedEvent
from outbox.messages import DomainEvent, IntegrationEvent

TOPIC = re.compile(r"[a-z][a-z0-9_-]*")

Mapped = IntegrationEvent | Iterable[IntegrationEvent] | None
Mapper = Callable[[Any, Any], Mapped]


class Route(NamedTuple):
    """One way out for an event: what `mapper` makes of it goes to `topic`."""

    topic: str
    mapper: Mapper


class Outgoing(NamedTuple):
    """What is to be published: `message`, on `topic`.

    `occurred_at` is when it happened, as the domain event says; None for when it is stored.
    """

    topic: str
    message: IntegrationEvent
    occurred_at: datetime | None = None


class _Internal:
    """The type of `INTERNAL`."""

    def __repr__(self) -> str:
        return "INTERNAL"


#: Says of a domain event that it stays inside, on purpose.
INTERNAL = _Internal()

Routes = Route | Sequence[Route] | _Internal


def to(topic: str, mapper: Mapper) -> Route:
    """Send what `mapper(event, aggregate)` returns to `topic`.

    The mapper returns one integration event, several, or None for nothing this time. Topic names
    match `[a-z][a-z0-9_-]*`, which is valid for Redis, Kafka, RabbitMQ and NATS and as a MongoDB
    key; another name raises `MessagingError`.
    """
    if not TOPIC.fullmatch(topic):
        raise MessagingError(
            f"{topic!r} can't be a topic: use lower-case letters, digits, '-' and '_', "
            "and begin with a letter."
        )
    return Route(topic, mapper)


class EventMapping:
    """The table of what becomes of each domain event of an aggregate.

    `publishes` names, for each class of domain event, one route, several, or `INTERNAL`. An event
    that is not in the table raises `UnmappedEvent`: forgetting to decide is an error.
    """

    def __init__(self, publishes: Mapping[type[DomainEvent], Routes]) -> None:
        self.routes: dict[type[DomainEvent], tuple[Route, ...]] = {
            event: _as_routes(routes) for event, routes in publishes.items()
        }

    def map(self, events: Iterable[DomainEvent], aggregate: Aggregate) -> list[Outgoing]:
        """What is to be published of `events`, in the order in which they happened."""
        mapped = []
        for event in events:
            for topic, mapper in self._routes_of(event):
                for message in _as_messages(mapper(event, aggregate)):
                    mapped.append(Outgoing(topic, message, event.occurred_at))
        return mapped

    def _routes_of(self, event: DomainEvent) -> tuple[Route, ...]:
        try:
            return self.routes[type(event)]
        except KeyError:
            raise UnmappedEvent(
                f"{type(event).__name__} is recorded but not mapped: give it a route in the "
                "table of its messaging.py, or INTERNAL if it is to stay inside."
            ) from None


def _as_routes(routes: Routes) -> tuple[Route, ...]:
    if isinstance(routes, _Internal):
        return ()
    return (routes,) if isinstance(routes, Route) else tuple(routes)


def _as_messages(mapped: Mapped) -> Iterable[IntegrationEvent]:
    if mapped is None:
        return ()
    return (mapped,) if isinstance(mapped, IntegrationEvent) else mapped
