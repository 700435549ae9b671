"""Queries: orders and stock as the HTTP API shows them.

They are read without loading an aggregate or its outbox.
"""

from collections.abc import Mapping
from typing import Any

from orders.domain.order import Order, Status
from orders.domain.stock import Stock
from orders.paging import page
from orders.repository import COUNTS, OPTIONAL, OrderRepository, StockRepository
from outbox import AggregateNotFound, connections
from outbox.envelope import timestamp

STATUSES = tuple(status.value for status in Status)


def get_order(order_id: str) -> dict[str, Any]:
    """The order as it is now. Raises `AggregateNotFound`, `StoreUnavailable`."""
    return _shown(_found(OrderRepository.collection, order_id, "order"))


def raise_unless_of(customer_id: str, order_id: str) -> None:
    """Raise `AggregateNotFound` unless there is such an order of this customer's."""
    wanted = {"_id": order_id, "customer_id": customer_id}
    with connections.store_errors():
        found = connections.database()[OrderRepository.collection].find_one(wanted, {"_id": 1})
    if found is None:
        raise AggregateNotFound(f"There is no order {order_id!r}.")


def list_orders(
    customer_id: str | None = None,
    status: str | None = None,
    cursor: str | None = None,
    *,
    only_of: str | None = None,
) -> dict[str, Any]:
    """One page of orders, newest first: `results`, and in `next` the cursor of the page after it.

    With `only_of`, of all these only that customer's. Orders placed meanwhile neither repeat nor
    hide others. Raises `InvalidCursor`, `StoreUnavailable`.
    """
    if only_of is not None:
        if customer_id not in (None, only_of):
            return {"results": [], "next": None}
        customer_id = only_of
    wanted: dict[str, Any] = {"customer_id": customer_id, "status": status}
    wanted = {field: value for field, value in wanted.items() if value is not None}
    found, after = page(OrderRepository.collection, wanted, cursor)
    return {"results": [_shown(order) for order in found], "next": after}


def get_stock(sku: str) -> dict[str, Any]:
    """The stock as it is now. Raises `AggregateNotFound`, `StoreUnavailable`."""
    return _shown_stock(_found(StockRepository.collection, sku, "stock"))


def as_saved(order: Order, orders: OrderRepository) -> dict[str, Any]:
    """The order as a command's handler returned it."""
    return _shown({"_id": order.id, "version": order.version, **orders.to_document(order)})


def stock_as_saved(stock: Stock, stocks: StockRepository) -> dict[str, Any]:
    """The stock as a command's handler returned it."""
    return _shown_stock({"_id": stock.id, "version": stock.version, **stocks.to_document(stock)})


def _found(collection: str, wanted: str, what: str) -> dict[str, Any]:
    with connections.store_errors():
        found = connections.database()[collection].find_one({"_id": wanted}, {"outbox": 0})
    if found is None:
        raise AggregateNotFound(f"There is no {what} {wanted!r}.")
    return found


def _shown(order: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "order_id": order["_id"],
        "customer_id": order["customer_id"],
        "currency": order["currency"],
        "status": order["status"],
        "items": [item | {"unit_price": str(item["unit_price"])} for item in order["items"]],
        "total": str(order["total"]),
        **{name: order.get(name) for name in OPTIONAL},
        "refund_due": order.get("refund_due", False),
        "awaiting_stock": bool(order.get("awaiting")),
        "placed_at": timestamp(order["placed_at"]),
        "updated_at": timestamp(order["updated_at"]),
        "version": order["version"],
    }


def _shown_stock(stock: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: stock.get(name, 0) for name in COUNTS}
    # Of a document that no command has touched yet, the version is that of a first load.
    return {"sku": stock["_id"], **counts, "version": stock.get("version") or 0}
