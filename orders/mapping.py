"""Event mapping: what others are told of domain events, and in which words.

Runs in the command's own context, before the write, so what is looked up here (the names of
shipped products) is published as it was when it happened.
"""

from collections.abc import Callable, Iterable, Mapping

from orders import integration_events as messages
from orders.domain import events
from orders.domain.line import Line
from orders.domain.order import Order
from orders.domain.reservation import Reservation
from orders.domain.stock import Stock

# -- The topic `orders` --


def order_placed(event: events.OrderPlaced, order: Order) -> messages.OrderPlaced:
    return messages.OrderPlaced(
        **_about(order), items=_items(event.lines), total=event.total, currency=order.currency
    )


def item_added(event: events.ItemAdded, order: Order) -> messages.OrderItemAdded:
    return messages.OrderItemAdded(
        **_about(order),
        sku=event.line.sku,
        quantity=event.line.quantity,
        total=event.total,
        currency=order.currency,
    )


def order_confirmed(event: events.OrderConfirmed, order: Order) -> messages.OrderConfirmed:
    return messages.OrderConfirmed(**_about(order), status=event.status)


def order_paid(event: events.OrderPaid, order: Order) -> messages.OrderPaid:
    return messages.OrderPaid(**_about(order), total=event.total, currency=order.currency)


def order_shipped(
    event: events.OrderShipped,
    order: Order,
    *,
    names: Callable[[Iterable[str]], Mapping[str, str]],
) -> messages.OrderShipped:
    """Asks the catalogue's `names` once, for all lines."""
    known = names(line.sku for line in event.lines)
    return messages.OrderShipped(
        **_about(order),
        items=tuple(
            messages.ShippedItem(sku=line.sku, quantity=line.quantity, name=known.get(line.sku))
            for line in event.lines
        ),
        carrier=event.carrier,
        tracking_number=event.tracking_number,
    )


def order_cancelled(event: events.OrderCancelled, order: Order) -> messages.OrderCancelled:
    return messages.OrderCancelled(**_about(order), reason=event.reason)


# -- The topic `orders-internal` --


def internal_order_placed(event: events.OrderPlaced, order: Order) -> messages.InternalOrderPlaced:
    return messages.InternalOrderPlaced(
        **_about(order),
        items=_priced(event.lines),
        total=event.total,
        currency=order.currency,
        reserve=_items(event.reserve),
    )


def internal_item_added(event: events.ItemAdded, order: Order) -> messages.InternalOrderItemAdded:
    return messages.InternalOrderItemAdded(
        **_about(order),
        items=_priced([event.line]),
        total=event.total,
        currency=order.currency,
        reserve=_items(event.reserve),
    )


def internal_order_paid(event: events.OrderPaid, order: Order) -> messages.InternalOrderPaid:
    return messages.InternalOrderPaid(
        **_about(order),
        payment_reference=event.payment_reference,
        total=event.total,
        currency=order.currency,
    )


def internal_order_shipped(
    event: events.OrderShipped, order: Order
) -> messages.InternalOrderShipped:
    return messages.InternalOrderShipped(
        **_about(order), items=_priced(event.lines), reserved=_items(event.reserved)
    )


def internal_order_cancelled(
    event: events.OrderCancelled, order: Order
) -> messages.InternalOrderCancelled:
    return messages.InternalOrderCancelled(
        **_about(order),
        items=_priced(event.lines),
        total=event.total,
        currency=order.currency,
        payment_reference=event.payment_reference,
        reserved=_items(event.reserved),
    )


def internal_reservation_dropped(
    event: events.ReservationDropped, order: Order
) -> messages.InternalReservationDropped:
    return messages.InternalReservationDropped(
        **_about(order), items=(messages.Item(sku=event.sku, quantity=event.quantity),)
    )


# -- The topic `stock-internal` --


def internal_stock_reserved(
    event: events.StockReserved, stock: Stock
) -> messages.InternalStockReserved:
    return messages.InternalStockReserved(
        sku=stock.id, order_id=event.order_id, quantity=event.quantity
    )


def internal_stock_insufficient(
    event: events.StockInsufficient, stock: Stock
) -> messages.InternalStockInsufficient:
    return messages.InternalStockInsufficient(
        sku=stock.id, order_id=event.order_id, quantity=event.quantity
    )


def _about(order: Order) -> dict[str, str]:
    return {"order_id": order.id, "customer_id": order.customer_id}


def _priced(lines: Iterable[Line]) -> tuple[messages.PricedItem, ...]:
    return tuple(
        messages.PricedItem(sku=line.sku, quantity=line.quantity, unit_price=line.unit_price)
        for line in lines
    )


def _items(several: Iterable[Line | Reservation]) -> tuple[messages.Item, ...]:
    return tuple(messages.Item(sku=one.sku, quantity=one.quantity) for one in several)
