"""Messaging: what orders handle and what they publish, at a glance."""

from functools import partial

from orders import mapping
from orders.catalogue import Catalogue
from orders.domain import commands, events
from orders.handlers import OrderHandlers
from orders.repository import OrderRepository
from outbox import DomainEvent, EventMapping, to
from outbox.mapping import Routes

EVERYONE = "orders"
INSIDE = "orders-internal"

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
}

orders = OrderRepository(EventMapping(publishes))
repositories = [orders]

_order = OrderHandlers(orders)

handles = {
    commands.PlaceOrder: _order.place,
    commands.AddItem: _order.add_item,
    commands.PayOrder: _order.pay,
    commands.ShipOrder: _order.ship,
    commands.CancelOrder: _order.cancel,
}
