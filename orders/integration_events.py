"""Integration events: what others may rely on.

Amounts are JSON numbers in the order's currency, in whole cents and below a thousand million, so
that a double holds them exactly. A change that a reader could notice gets a new version.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, PlainSerializer

from outbox import IntegrationEvent

Amount = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]


class OrderEvent(IntegrationEvent, name="OrderEvent"):
    """What all events about orders begin with."""

    order_id: str
    customer_id: str


class Item(BaseModel):
    model_config = IntegrationEvent.model_config

    sku: str
    quantity: int


# -- The topic `orders`: for everyone --


class OrderPlaced(OrderEvent, name="OrderPlaced", version="1.0"):
    items: tuple[Item, ...]
    total: Amount
    currency: str


class OrderItemAdded(OrderEvent, name="OrderItemAdded", version="1.0"):
    """`total` is the order's, with the new item."""

    sku: str
    quantity: int
    total: Amount
    currency: str


class OrderPaid(OrderEvent, name="OrderPaid", version="1.0"):
    total: Amount
    currency: str


class ShippedItem(Item):
    """`name` is the product's as it was shipped; None if the catalogue didn't know it."""

    name: str | None


class OrderShipped(OrderEvent, name="OrderShipped", version="1.0"):
    items: tuple[ShippedItem, ...]
    carrier: str
    tracking_number: str


class OrderCancelled(OrderEvent, name="OrderCancelled", version="1.0"):
    reason: str


class OrderConfirmed(OrderEvent, name="OrderConfirmed", version="1.0"):
    """All of the order's stock is held; `status` is the order's: confirmed or paid."""

    status: str


# -- The topic `orders-internal`: for the other aggregates of this system --


class PricedItem(Item):
    unit_price: Amount


class InternalOrderPlaced(OrderEvent, name="InternalOrderPlaced", version="1.0"):
    """Stock is to be reserved for `reserve`: those of `items` whose stock is managed, summed."""

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str
    reserve: tuple[Item, ...] = ()


class InternalOrderItemAdded(OrderEvent, name="InternalOrderItemAdded", version="1.0"):
    """Stock is to be reserved for `reserve` too; `items` is the one that was added."""

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str
    reserve: tuple[Item, ...] = ()


class InternalOrderPaid(OrderEvent, name="InternalOrderPaid", version="1.0"):
    """`total` has been received, under `payment_reference`."""

    payment_reference: str
    total: Amount
    currency: str


class InternalOrderShipped(OrderEvent, name="InternalOrderShipped", version="1.0"):
    """What was `reserved`, one for each sku, has left the stock."""

    items: tuple[PricedItem, ...]
    reserved: tuple[Item, ...] = ()


class InternalOrderCancelled(OrderEvent, name="InternalOrderCancelled", version="1.0"):
    """What was `reserved`, one for each sku, is to be free again.

    With a `payment_reference`, `total` had been paid under it and is to be given back.
    """

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str
    payment_reference: str | None
    reserved: tuple[Item, ...] = ()


class InternalReservationDropped(OrderEvent, name="InternalReservationDropped", version="1.0"):
    """The stock holds `items`, and the order doesn't need them any more: to be free again."""

    items: tuple[Item, ...]


# -- The topic `stock-internal`: the stock's answers to those who asked it --


class StockEvent(IntegrationEvent, name="StockEvent"):
    """What all have: `quantity` of the product `sku`, asked for an order."""

    sku: str
    order_id: str
    quantity: int


class InternalStockReserved(StockEvent, name="InternalStockReserved", version="1.0"):
    """They are held for the order."""


class InternalStockInsufficient(StockEvent, name="InternalStockInsufficient", version="1.0"):
    """There aren't so many; none are held."""
