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


# -- The topic `orders-internal`: for the other aggregates of this system --


class PricedItem(Item):
    unit_price: Amount


class InternalOrderPlaced(OrderEvent, name="InternalOrderPlaced", version="1.0"):
    """Stock is to be reserved for `items`."""

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str


class InternalOrderItemAdded(OrderEvent, name="InternalOrderItemAdded", version="1.0"):
    """Stock is to be reserved for `items` too: the one that was added."""

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str


class InternalOrderPaid(OrderEvent, name="InternalOrderPaid", version="1.0"):
    """`total` has been received, under `payment_reference`."""

    payment_reference: str
    total: Amount
    currency: str


class InternalOrderShipped(OrderEvent, name="InternalOrderShipped", version="1.0"):
    """What was reserved of `items` has left the stock."""

    items: tuple[PricedItem, ...]


class InternalOrderCancelled(OrderEvent, name="InternalOrderCancelled", version="1.0"):
    """What was reserved of `items` is free again.

    With a `payment_reference`, `total` had been paid under it and is to be given back.
    """

    items: tuple[PricedItem, ...]
    total: Amount
    currency: str
    payment_reference: str | None
