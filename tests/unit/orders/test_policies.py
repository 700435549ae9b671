"""The policies: which commands an event calls for."""

from datetime import UTC, datetime

import pytest

from orders import integration_events as published
from orders import policies
from orders.domain import commands
from outbox.delivery import Delivery

ABOUT = {"order_id": "o-1", "customer_id": "c-1"}
PRICED = (published.PricedItem(sku="X", quantity=9, unit_price="1.00"),)
MONEY = {"total": "9.00", "currency": "USD"}
ITEMS = (published.Item(sku="A", quantity=2), published.Item(sku="B", quantity=1))
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DELIVERY = Delivery("e-1", "T", "1.0", "t", "o-1", 1, LONG_AGO, {}, {}, "")


def cancelled(reserved):
    return published.InternalOrderCancelled(
        **ABOUT, **MONEY, items=PRICED, payment_reference=None, reserved=reserved
    )


@pytest.mark.parametrize(
    ("policy", "event", "command"),
    [
        (
            policies.reserve,
            lambda of: published.InternalOrderPlaced(**ABOUT, **MONEY, items=PRICED, reserve=of),
            commands.ReserveStock,
        ),
        (
            policies.reserve,
            lambda of: published.InternalOrderItemAdded(**ABOUT, **MONEY, items=PRICED, reserve=of),
            commands.ReserveStock,
        ),
        (
            policies.ship,
            lambda of: published.InternalOrderShipped(**ABOUT, items=PRICED, reserved=of),
            commands.ShipStock,
        ),
        (policies.release, cancelled, commands.ReleaseStock),
        (
            policies.release_dropped,
            lambda of: published.InternalReservationDropped(**ABOUT, items=of),
            commands.ReleaseStock,
        ),
    ],
)
def test_each_stock_that_is_concerned_gets_one_command(policy, event, command):
    returned = policy(event(ITEMS), DELIVERY)

    assert [(type(c), c.sku, c.order_id, c.quantity) for c in returned] == [
        (command, "A", "o-1", 2),
        (command, "B", "o-1", 1),
    ]
    assert all(c.at > LONG_AGO for c in returned), "it happens now, not when its cause did"
    assert policy(event(()), DELIVERY) == []


@pytest.mark.parametrize(
    ("policy", "event", "command"),
    [
        (policies.note_reservation, published.InternalStockReserved, commands.NoteReservation),
        (policies.reject_for_stock, published.InternalStockInsufficient, commands.RejectForStock),
    ],
)
def test_the_order_gets_the_stocks_answer(policy, event, command):
    returned = policy(event(sku="A", order_id="o-1", quantity=2), DELIVERY)

    assert returned == command(order_id="o-1", sku="A", quantity=2, at=returned.at)
    assert returned.at > LONG_AGO
    assert returned.expected_version is None
