"""The order repository: how an order lies in the collection `orders`.

    { customer_id, currency, status, items: [{sku, quantity, unit_price}], total,
      placed_at, updated_at, payment_reference?, carrier?, tracking_number?, cancel_reason? }

Amounts are Decimal128 with two places; what an order doesn't have yet is left out.
"""

from typing import Any, ClassVar

from bson import Decimal128
from pymongo import IndexModel

from orders.domain.line import Line
from orders.domain.order import Order, Status
from outbox.repository import DocumentRepository

COLLECTION = "orders"
OPTIONAL = ("payment_reference", "carrier", "tracking_number", "cancel_reason")

#: Newest first; the id settles the order of those placed in one millisecond.
NEWEST = [("placed_at", -1), ("_id", -1)]


class OrderRepository(DocumentRepository[Order]):
    """Keeps orders; the indexes are those of `queries.list_orders`."""

    collection = COLLECTION
    indexes: ClassVar = [
        IndexModel([("customer_id", 1), *NEWEST], name="orders_by_customer"),
        IndexModel([("status", 1), *NEWEST], name="orders_by_status"),
        IndexModel(NEWEST, name="orders_newest"),
    ]

    def to_document(self, aggregate: Order) -> dict[str, Any]:
        return {
            "customer_id": aggregate.customer_id,
            "currency": aggregate.currency,
            "status": aggregate.status.value,
            "items": [
                {
                    "sku": line.sku,
                    "quantity": line.quantity,
                    "unit_price": Decimal128(line.unit_price),
                }
                for line in aggregate.lines
            ],
            "total": Decimal128(aggregate.total),
            "placed_at": aggregate.placed_at,
            "updated_at": aggregate.updated_at,
            **{name: value for name in OPTIONAL if (value := getattr(aggregate, name)) is not None},
        }

    def from_document(self, stored: dict[str, Any]) -> Order:
        return Order(
            stored["_id"],
            customer_id=stored["customer_id"],
            currency=stored["currency"],
            lines=[
                Line(
                    sku=item["sku"],
                    quantity=item["quantity"],
                    unit_price=item["unit_price"].to_decimal(),
                )
                for item in stored["items"]
            ],
            placed_at=stored["placed_at"],
            updated_at=stored["updated_at"],
            status=Status(stored["status"]),
            **{name: stored.get(name) for name in OPTIONAL},
        )
