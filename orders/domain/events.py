"""Domain events: what happens to an order or a stock. Private to this app; `mapping` tells others.

Each one's `occurred_at` is the moment that its aggregate was changed.
"""

from decimal import Decimal

from orders.domain.line import Line
from orders.domain.reservation import Reservation
from outbox import DomainEvent

# -- The order --


class OrderPlaced(DomainEvent, name="OrderPlaced"):
    """`reserve` is asked of the stock; empty for products whose stock nobody manages."""

    lines: tuple[Line, ...]
    total: Decimal
    reserve: tuple[Reservation, ...] = ()


class ItemAdded(DomainEvent, name="ItemAdded"):
    """`total` is the order's, with the new line; `reserve` is asked of the stock for it."""

    line: Line
    total: Decimal
    reserve: tuple[Reservation, ...] = ()


class OrderConfirmed(DomainEvent, name="OrderConfirmed"):
    """All that was asked of the stock is held; `status` is the order's."""

    status: str


class ReservationDropped(DomainEvent, name="ReservationDropped"):
    """The stock holds something that the order has no use for any more."""

    sku: str
    quantity: int


class OrderPaid(DomainEvent, name="OrderPaid"):
    payment_reference: str
    total: Decimal


class OrderShipped(DomainEvent, name="OrderShipped"):
    """`reserved` was held in the stock and has left it."""

    lines: tuple[Line, ...]
    carrier: str
    tracking_number: str
    reserved: tuple[Reservation, ...] = ()


class OrderCancelled(DomainEvent, name="OrderCancelled"):
    """`payment_reference` names the payment to give back; None if nothing had been paid.

    `reserved` is held in the stock and not needed any more.
    """

    lines: tuple[Line, ...]
    reason: str
    total: Decimal
    payment_reference: str | None
    reserved: tuple[Reservation, ...] = ()


# -- The stock --


class StockChange(DomainEvent, name="StockChange"):
    """What all that is done for an order has: which one, and how many."""

    order_id: str
    quantity: int


class StockReserved(StockChange, name="StockReserved"):
    """`quantity` is held for the order."""


class StockInsufficient(StockChange, name="StockInsufficient"):
    """Nothing is held for the order: there were only `on_hand`."""

    on_hand: int


class StockReleased(StockChange, name="StockReleased"):
    """What was held for the order is free again."""


class StockShipped(StockChange, name="StockShipped"):
    """What was held for the order has left."""


class StockSet(DomainEvent, name="StockSet"):
    """There are `on_hand` that nobody has reserved, whatever was thought before."""

    on_hand: int
