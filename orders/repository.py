"""The repositories: how orders and stock lie in their collections.

    orders  { customer_id, currency, status, items: [{sku, quantity, unit_price}], total,
              placed_at, updated_at, payment_reference?, carrier?, tracking_number?,
              cancel_reason?, refund_due?, awaiting?: [{sku, quantity}],
              reserved?: [{sku, quantity}] }
    stock   { on_hand, reserved, shipped }, its `_id` the sku

Amounts are Decimal128 with two places; what an order doesn't have, or not yet, is left out.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from bson import Decimal128
from pymongo import IndexModel

from orders.domain.line import Line
from orders.domain.order import Order, Status
from orders.domain.reservation import Reservation
from orders.domain.stock import Stock
from orders.paging import NEWEST
from outbox import connections
from outbox.repository import DocumentRepository

OPTIONAL = ("payment_reference", "carrier", "tracking_number", "cancel_reason")
COUNTS = ("on_hand", "reserved", "shipped")


class OrderRepository(DocumentRepository[Order]):
    """Keeps orders; the indexes are those of `queries.list_orders`."""

    collection = "orders"
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
            **({"refund_due": True} if aggregate.refund_due else {}),
            **({"awaiting": _stored(aggregate.awaiting)} if aggregate.awaiting else {}),
            **({"reserved": _stored(aggregate.reserved)} if aggregate.reserved else {}),
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
            awaiting=[Reservation(**one) for one in stored.get("awaiting", ())],
            reserved=[Reservation(**one) for one in stored.get("reserved", ())],
        )


class StockRepository(DocumentRepository[Stock]):
    """Keeps the stock of those products that have one; of the others there is always enough."""

    collection = "stock"

    def managed(self, skus: Iterable[str]) -> set[str]:
        """Those of the `skus` whose stock is kept: one query. Raises `StoreUnavailable`."""
        wanted = {"_id": {"$in": sorted(set(skus))}}
        with connections.store_errors():
            return {stock["_id"] for stock in self._documents.find(wanted, {"_id": 1})}

    def to_document(self, aggregate: Stock) -> dict[str, Any]:
        return {name: getattr(aggregate, name) for name in COUNTS}

    def from_document(self, stored: dict[str, Any]) -> Stock:
        return Stock(stored["_id"], **{name: stored.get(name, 0) for name in COUNTS})


def _stored(reservations: Iterable[Reservation]) -> list[dict[str, Any]]:
    return [{"sku": one.sku, "quantity": one.quantity} for one in reservations]
