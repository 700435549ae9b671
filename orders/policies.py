"""Policies: what has to happen next. Each turns an event into the commands that it calls for.

Orders and stock change one after the other, never in one transaction; these are all that goes
between them. A policy decides nothing: whether a command still makes sense is for the aggregate to
say, which knows what has happened meanwhile. An aggregate gets at most one command per event.
"""

from orders import integration_events as events
from orders.domain import commands
from outbox.delivery import Delivery


def reserve(
    event: events.InternalOrderPlaced | events.InternalOrderItemAdded, delivery: Delivery
) -> list[commands.ReserveStock]:
    return [
        commands.ReserveStock(sku=item.sku, order_id=event.order_id, quantity=item.quantity)
        for item in event.reserve
    ]


def ship(event: events.InternalOrderShipped, delivery: Delivery) -> list[commands.ShipStock]:
    return [
        commands.ShipStock(sku=item.sku, order_id=event.order_id, quantity=item.quantity)
        for item in event.reserved
    ]


def release(
    event: events.InternalOrderCancelled, delivery: Delivery
) -> list[commands.ReleaseStock]:
    return _released(event.order_id, event.reserved)


def release_dropped(
    event: events.InternalReservationDropped, delivery: Delivery
) -> list[commands.ReleaseStock]:
    return _released(event.order_id, event.items)


def note_reservation(
    event: events.InternalStockReserved, delivery: Delivery
) -> commands.NoteReservation:
    return commands.NoteReservation(order_id=event.order_id, sku=event.sku, quantity=event.quantity)


def reject_for_stock(
    event: events.InternalStockInsufficient, delivery: Delivery
) -> commands.RejectForStock:
    return commands.RejectForStock(order_id=event.order_id, sku=event.sku, quantity=event.quantity)


def _released(order_id: str, items: tuple[events.Item, ...]) -> list[commands.ReleaseStock]:
    return [
        commands.ReleaseStock(sku=item.sku, order_id=order_id, quantity=item.quantity)
        for item in items
    ]
