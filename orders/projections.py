"""Projections: from the published events to the read model `customer_orders`.

Knows the published contract only, so it could run in another service. Each handler returns one
update of the order's document; with the events of an order in their order, the document has what
the order itself has. Its shape is described in `read_model`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128
from pymongo import UpdateOne

from orders import integration_events as events
from outbox.delivery import Delivery

CENT = Decimal("0.01")


def order_placed(event: events.OrderPlaced, delivery: Delivery) -> UpdateOne:
    """Creates the document; taken again, it begins it anew."""
    order = {
        "customer_id": event.customer_id,
        "status": "placed",
        "total": _amount(event.total),
        "currency": event.currency,
        "placed_at": delivery.occurred_at,
        "updated_at": delivery.occurred_at,
    }
    return UpdateOne({"_id": event.order_id}, {"$set": order}, upsert=True)


def order_item_added(event: events.OrderItemAdded, delivery: Delivery) -> UpdateOne:
    return _update(event, delivery.occurred_at, total=_amount(event.total))


def order_confirmed(event: events.OrderConfirmed, delivery: Delivery) -> UpdateOne:
    return _update(event, delivery.occurred_at, status=event.status)


def order_paid(event: events.OrderPaid, delivery: Delivery) -> UpdateOne:
    return _update(event, delivery.occurred_at, status="paid")


def order_shipped(event: events.OrderShipped, delivery: Delivery) -> UpdateOne:
    return _update(event, delivery.occurred_at, status="shipped")


def order_cancelled(event: events.OrderCancelled, delivery: Delivery) -> UpdateOne:
    return _update(event, delivery.occurred_at, status="cancelled")


def _update(event: events.OrderEvent, updated_at: datetime, **changes: Any) -> UpdateOne:
    return UpdateOne({"_id": event.order_id}, {"$set": changes | {"updated_at": updated_at}})


def _amount(total: Decimal) -> Decimal128:
    # As a JSON number it may have come with fewer places.
    return Decimal128(total.quantize(CENT))
