"""The projection of the published events to the read model: one update each."""

from datetime import UTC, datetime
from decimal import Decimal

import mongomock
import pytest
from bson import Decimal128
from pymongo import UpdateOne

from orders import integration_events as published
from orders import projections
from outbox.delivery import Delivery
from tests.unit.orders.process import apply

ABOUT = {"order_id": "o-1", "customer_id": "c-1"}
PLACED = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 21, 13, tzinfo=UTC)
ORDER = {
    "_id": "o-1",
    "customer_id": "c-1",
    "status": "placed",
    "total": Decimal128("99.90"),
    "currency": "USD",
    "placed_at": PLACED,
    "updated_at": PLACED,
}


def at(moment):
    return Delivery("e-1", "T", "1.0", "orders", "o-1", 1, moment, {}, {}, "")


@pytest.fixture
def orders():
    """The read model with one order, and another that nothing happens to."""
    collection = mongomock.MongoClient(tz_aware=True)["read"]["customer_orders"]
    for order_id in ("o-1", "o-2"):
        event = published.OrderPlaced(
            order_id=order_id, customer_id="c-1", items=(), total=Decimal("99.9"), currency="USD"
        )
        apply(projections.order_placed(event, at(PLACED)), collection)
    yield collection
    assert collection.find_one({"_id": "o-2"}) == ORDER | {"_id": "o-2"}


def test_a_placed_order_is_listed_with_two_places(orders):
    assert orders.find_one({"_id": "o-1"}) == ORDER
    assert str(orders.find_one({"_id": "o-1"})["total"]) == "99.90"


@pytest.mark.parametrize(
    ("handler", "event", "changes"),
    [
        (
            projections.order_item_added,
            published.OrderItemAdded(
                **ABOUT, sku="A", quantity=1, total=Decimal("100"), currency="USD"
            ),
            {"total": Decimal128("100.00")},
        ),
        (
            projections.order_confirmed,
            published.OrderConfirmed(**ABOUT, status="confirmed"),
            {"status": "confirmed"},
        ),
        (
            projections.order_confirmed,
            published.OrderConfirmed(**ABOUT, status="paid"),
            {"status": "paid"},
        ),
        (
            projections.order_paid,
            published.OrderPaid(**ABOUT, total=Decimal("99.9"), currency="USD"),
            {"status": "paid"},
        ),
        (
            projections.order_shipped,
            published.OrderShipped(**ABOUT, items=(), carrier="DHL", tracking_number="1"),
            {"status": "shipped"},
        ),
        (
            projections.order_cancelled,
            published.OrderCancelled(**ABOUT, reason="changed"),
            {"status": "cancelled"},
        ),
    ],
)
def test_what_happens_to_an_order_is_one_update_of_what_it_changes(orders, handler, event, changes):
    operation = handler(event, at(LATER))

    assert isinstance(operation, UpdateOne)
    apply(operation, orders)
    changed = orders.find_one({"_id": "o-1"})
    assert changed == ORDER | changes | {"updated_at": LATER}
    assert str(changed["total"]) == str((ORDER | changes)["total"]), "to the last place"


def test_an_order_that_nobody_placed_is_not_listed(orders):
    event = published.OrderPaid(order_id="x", customer_id="c-1", total=Decimal(1), currency="USD")

    apply(projections.order_paid(event, at(LATER)), orders)

    assert orders.count_documents({}) == 2
