"""Messaging: what orders and stock handle, publish and subscribe to, at a glance."""

from functools import partial

from orders import integration_events as published
from orders import letters, mapping, policies, projections, read_model
from orders.catalogue import Catalogue
from orders.domain import commands, events
from orders.handlers import OrderHandlers, StockHandlers
from orders.repository import OrderRepository, StockRepository
from outbox import (
    EMBEDDED,
    INTERNAL,
    RECORDED,
    TRANSACTIONAL,
    DomainError,
    DomainEvent,
    EventMapping,
    Subscriber,
    to,
)
from outbox.mapping import Routes

EVERYONE = "orders"
INSIDE = "orders-internal"
STOCK = "stock-internal"

catalogue = Catalogue()

publishes: dict[type[DomainEvent], Routes] = {
    events.OrderPlaced: [
        to(EVERYONE, mapping.order_placed),
        to(INSIDE, mapping.internal_order_placed),
    ],
    events.ItemAdded: [
        to(EVERYONE, mapping.item_added),
        to(INSIDE, mapping.internal_item_added),
    ],
    events.OrderConfirmed: to(EVERYONE, mapping.order_confirmed),
    events.ReservationDropped: to(INSIDE, mapping.internal_reservation_dropped),
    events.OrderPaid: [
        to(EVERYONE, mapping.order_paid),
        to(INSIDE, mapping.internal_order_paid),
    ],
    events.OrderShipped: [
        to(EVERYONE, partial(mapping.order_shipped, names=catalogue.names)),
        to(INSIDE, mapping.internal_order_shipped),
    ],
    events.OrderCancelled: [
        to(EVERYONE, mapping.order_cancelled),
        to(INSIDE, mapping.internal_order_cancelled),
    ],
    events.StockReserved: to(STOCK, mapping.internal_stock_reserved),
    events.StockInsufficient: to(STOCK, mapping.internal_stock_insufficient),
    events.StockReleased: INTERNAL,
    events.StockShipped: INTERNAL,
    events.StockSet: INTERNAL,
}

orders = OrderRepository(EventMapping(publishes))
stocks = StockRepository(EventMapping(publishes))
repositories = [orders, stocks]

_order = OrderHandlers(orders, managed=stocks.managed)
_stock = StockHandlers(stocks)

handles = {
    commands.PlaceOrder: _order.place,
    commands.AddItem: _order.add_item,
    commands.PayOrder: _order.pay,
    commands.ShipOrder: _order.ship,
    commands.CancelOrder: _order.cancel,
    commands.NoteReservation: _order.note_reservation,
    commands.RejectForStock: _order.reject_for_stock,
    commands.SetStock: _stock.set,
    commands.ReserveStock: _stock.reserve,
    commands.ReleaseStock: _stock.release,
    commands.ShipStock: _stock.ship,
}

subscribes = [
    Subscriber(
        name="stock",
        topic=INSIDE,
        effect=EMBEDDED,
        handlers={
            published.InternalOrderPlaced: policies.reserve,
            published.InternalOrderItemAdded: policies.reserve,
            published.InternalOrderShipped: policies.ship,
            published.InternalOrderCancelled: policies.release,
            published.InternalReservationDropped: policies.release_dropped,
        },
        # A rule that says no will say so again.
        attempts={DomainError: 1},
    ),
    Subscriber(
        name="order-stock",
        topic=STOCK,
        effect=EMBEDDED,
        handlers={
            published.InternalStockReserved: policies.note_reservation,
            published.InternalStockInsufficient: policies.reject_for_stock,
        },
        attempts={DomainError: 1},
    ),
    Subscriber(
        name="customer-orders",
        topic=EVERYONE,
        effect=TRANSACTIONAL,
        collection=read_model.COLLECTION,
        indexes=read_model.INDEXES,
        handlers={
            published.OrderPlaced: projections.order_placed,
            published.OrderItemAdded: projections.order_item_added,
            published.OrderConfirmed: projections.order_confirmed,
            published.OrderPaid: projections.order_paid,
            published.OrderShipped: projections.order_shipped,
            published.OrderCancelled: projections.order_cancelled,
        },
    ),
    Subscriber(
        name="letters",
        topic=EVERYONE,
        effect=RECORDED,
        handlers={published.OrderShipped: letters.order_shipped},
        # All that smtplib raises is an OSError too; a letter that is refused isn't.
        unavailable=(OSError,),
    ),
]
