"""Queries: orders as the HTTP API shows them, read without loading an aggregate or its outbox."""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orders.domain.order import Order, Status
from orders.repository import COLLECTION, NEWEST, OPTIONAL, OrderRepository
from outbox import AggregateNotFound, OutboxError, connections
from outbox.envelope import timestamp

PAGE = 50
STATUSES = tuple(status.value for status in Status)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Milliseconds since the epoch, until the year 5138, and an order's id.
CURSOR = re.compile(r"(\d{1,14}) (.+)", re.ASCII | re.DOTALL)


class InvalidCursor(OutboxError):
    """This is not a cursor that a list has given out."""


def get_order(order_id: str) -> dict[str, Any]:
    """The order as it is now. Raises `AggregateNotFound`, `StoreUnavailable`."""
    with connections.store_errors():
        found = connections.database()[COLLECTION].find_one({"_id": order_id}, {"outbox": 0})
    if found is None:
        raise AggregateNotFound(f"There is no order {order_id!r}.")
    return _shown(found)


def list_orders(
    customer_id: str | None = None, status: str | None = None, cursor: str | None = None
) -> dict[str, Any]:
    """One page of orders, newest first: `results`, and in `next` the cursor of the page after it.

    Orders placed meanwhile neither repeat nor hide others. Raises `InvalidCursor`,
    `StoreUnavailable`.
    """
    wanted: dict[str, Any] = {"customer_id": customer_id, "status": status}
    wanted = {field: value for field, value in wanted.items() if value is not None}
    if cursor is not None:
        placed_at, order_id = _position(cursor)
        # The first condition bounds the scan of the index, the second drops what was shown.
        wanted["placed_at"] = {"$lte": placed_at}
        wanted["$or"] = [{"placed_at": {"$lt": placed_at}}, {"_id": {"$lt": order_id}}]
    with connections.store_errors():
        orders = connections.database()[COLLECTION]
        found = list(orders.find(wanted, {"outbox": 0}).sort(NEWEST).limit(PAGE + 1))
    page = found[:PAGE]
    return {
        "results": [_shown(order) for order in page],
        "next": _cursor(page[-1]) if len(found) > PAGE else None,
    }


def as_saved(order: Order, orders: OrderRepository) -> dict[str, Any]:
    """The order as a command's handler returned it."""
    return _shown({"_id": order.id, "version": order.version, **orders.to_document(order)})


def _shown(order: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "order_id": order["_id"],
        "customer_id": order["customer_id"],
        "currency": order["currency"],
        "status": order["status"],
        "items": [item | {"unit_price": str(item["unit_price"])} for item in order["items"]],
        "total": str(order["total"]),
        **{name: order.get(name) for name in OPTIONAL},
        "placed_at": timestamp(order["placed_at"]),
        "updated_at": timestamp(order["updated_at"]),
        "version": order["version"],
    }


def _cursor(last: Mapping[str, Any]) -> str:
    text = f"{(last['placed_at'] - EPOCH) // timedelta(milliseconds=1)} {last['_id']}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        text = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidCursor() from None
    found = CURSOR.fullmatch(text)
    if found is None:
        raise InvalidCursor()
    return EPOCH + timedelta(milliseconds=int(found[1])), found[2]
