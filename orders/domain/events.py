"""Domain events: what happens to an order. Private to this app; `mapping` tells others."""

from decimal import Decimal

from orders.domain.line import Line
from outbox import DomainEvent


class OrderPlaced(DomainEvent, name="OrderPlaced"):
    lines: tuple[Line, ...]
    total: Decimal


class ItemAdded(DomainEvent, name="ItemAdded"):
    """`total` is the order's, with the new line."""

    line: Line
    total: Decimal


class OrderPaid(DomainEvent, name="OrderPaid"):
    payment_reference: str
    total: Decimal


class OrderShipped(DomainEvent, name="OrderShipped"):
    lines: tuple[Line, ...]
    carrier: str
    tracking_number: str


class OrderCancelled(DomainEvent, name="OrderCancelled"):
    """`payment_reference` names the payment to give back; None if nothing had been paid."""

    lines: tuple[Line, ...]
    reason: str
    total: Decimal
    payment_reference: str | None
