"""A transactional outbox for Django on MongoDB, embedded in the aggregate's own document.

This module is the vocabulary, and imports neither Django nor any driver. The way of an event:
`aggregate` records it, `mapping` makes messages of it, `repository` stores them with the change,
`relay` publishes them through a publisher.
"""

from outbox.aggregate import Aggregate
from outbox.errors import (
    AggregateAlreadyExists,
    AggregateNotFound,
    AlreadyHandled,
    ConcurrencyError,
    DomainError,
    MessageIdReused,
    OutboxError,
    StaleVersion,
)
from outbox.mapping import INTERNAL, EventMapping, to
from outbox.message_bus import MessageBus
from outbox.messages import Command, DomainEvent, IntegrationEvent
from outbox.subscriber import EMBEDDED, RECORDED, TRANSACTIONAL, Subscriber
from outbox.upcasting import Upcaster

__all__ = [
    "EMBEDDED",
    "INTERNAL",
    "RECORDED",
    "TRANSACTIONAL",
    "Aggregate",
    "AggregateAlreadyExists",
    "AggregateNotFound",
    "AlreadyHandled",
    "Command",
    "ConcurrencyError",
    "DomainError",
    "DomainEvent",
    "EventMapping",
    "IntegrationEvent",
    "MessageBus",
    "MessageIdReused",
    "OutboxError",
    "StaleVersion",
    "Subscriber",
    "Upcaster",
    "to",
]
