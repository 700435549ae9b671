"""The read model: each customer's orders, as the projection of the published events keeps them.

    customer_orders  { customer_id, status, total, currency, placed_at, updated_at }

`_id` is the order's; `total` is a Decimal128 with two places. It is as current as the stream is.
"""

from typing import Any

from pymongo import IndexModel

from orders.paging import NEWEST, page
from outbox.envelope import timestamp

COLLECTION = "customer_orders"
INDEXES = [IndexModel([("customer_id", 1), *NEWEST], name="customer_orders_newest")]


def list_customer_orders(customer_id: str, cursor: str | None = None) -> dict[str, Any]:
    """One page of a customer's orders, newest first: `results`, and in `next` a cursor.

    Nobody's orders are none. Raises `InvalidCursor`, `StoreUnavailable`.
    """
    found, after = page(COLLECTION, {"customer_id": customer_id}, cursor)
    return {"results": [_shown(order) for order in found], "next": after}


def _shown(order: dict[str, Any]) -> dict[str, Any]:
    return {
        "order_id": order["_id"],
        "status": order["status"],
        "total": str(order["total"]),
        "currency": order["currency"],
        "placed_at": timestamp(order["placed_at"]),
        "updated_at": timestamp(order["updated_at"]),
    }
