"""Orders and stock together: whatever comes in whichever order, no item is lost or sold twice."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders import messaging
from orders.domain import commands
from orders.domain.order import Status
from outbox import DomainError
from outbox.discovery import bus
from tests.unit.orders import process
from tests.unit.orders.test_order_stock import other

STOCK = {"A": 7, "B": 4}


@pytest.fixture
def store():
    process.empty()
    yield
    process.empty()


def stock_of(sku, on_hand):
    bus().handle(commands.SetStock(sku=sku, on_hand=on_hand))


def place(order_id, *lines):
    return bus().handle(
        commands.PlaceOrder(order_id=order_id, customer_id="c-1", currency="USD", lines=lines)
    )


def counts(sku):
    stock = messaging.stocks.get(sku)
    return stock.on_hand, stock.reserved, stock.shipped


def order(order_id):
    return messaging.orders.get(order_id)


def pay(order_id):
    return bus().handle(commands.PayOrder(order_id=order_id, payment_reference="pay-1"))


def ship(order_id):
    return bus().handle(commands.ShipOrder(order_id=order_id, carrier="DHL", tracking_number="1"))


def cancel(order_id):
    return bus().handle(commands.CancelOrder(order_id=order_id, reason="changed"))


def add(order_id, sku, quantity):
    return bus().handle(commands.AddItem(order_id=order_id, line=other(sku, quantity)))


def test_an_order_that_is_seen_through_takes_its_stock_along(store):
    stock_of("A", 5)
    place("o-1", other("A", 2), other("unmanaged", 9), other("A", 1))
    assert process.deliver_inside() == ["InternalOrderPlaced", "InternalStockReserved"]
    assert (order("o-1").status, counts("A")) == (Status.CONFIRMED, (2, 3, 0))

    pay("o-1")
    ship("o-1")
    process.deliver_inside()

    assert counts("A") == (2, 0, 3)


def test_an_order_without_stock_is_cancelled_and_gives_back_the_rest(store):
    stock_of("A", 5)
    stock_of("B", 1)
    place("o-1", other("A", 2), other("B", 2))
    pay("o-1")

    process.deliver_inside()

    cancelled = order("o-1")
    assert (cancelled.status, cancelled.cancel_reason) == (Status.CANCELLED, "B is out of stock")
    assert (cancelled.refund_due, cancelled.awaiting) == (True, ())
    assert (counts("A"), counts("B")) == ((5, 0, 0), (1, 0, 0))


def test_an_order_that_is_cancelled_meanwhile_keeps_nothing(store):
    stock_of("A", 5)
    place("o-1", other("A", 2))
    cancel("o-1")

    assert process.deliver_inside()[-1] == "InternalReservationDropped"
    assert (counts("A"), order("o-1").awaiting) == ((5, 0, 0), ())


def test_an_order_of_unmanaged_products_is_written_by_its_customer_only(store):
    stock_of("A", 5)
    place("o-1", other("X"))
    add("o-1", "Y", 1)
    pay("o-1")
    ship("o-1")

    process.deliver_inside()

    assert order("o-1").version == 4
    assert messaging.stocks.get("A").version == 1


def test_stock_that_begins_to_be_managed_is_not_asked_for_earlier_orders(store):
    place("o-1", other("A", 2))
    stock_of("A", 1)

    process.deliver_inside()

    assert (order("o-1").awaiting, counts("A")) == ((), (1, 0, 0))


ORDERS = st.sampled_from(["o-1", "o-2", "o-3"])
SKUS = st.sampled_from(["A", "B", "unmanaged"])
QUANTITIES = st.integers(1, 3)
DELIVERY = st.tuples(st.just("deliver"), st.lists(st.integers(0, 5), max_size=4), st.booleans())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(add), ORDERS, SKUS, QUANTITIES),
        st.tuples(st.sampled_from([pay, ship, pay, ship, cancel]), ORDERS),
        st.tuples(st.sampled_from([pay, ship]), ORDERS),
        DELIVERY,
        DELIVERY,
    ),
    min_size=5,
    max_size=30,
)
LINES = st.lists(st.tuples(SKUS, QUANTITIES), min_size=1, max_size=2)


@settings(max_examples=200, deadline=None)
@given(placed=st.lists(LINES, min_size=1, max_size=3), steps=STEPS)
def test_no_item_is_lost_or_sold_twice_in_any_order_of_events(placed, steps):
    process.empty()
    for sku, on_hand in STOCK.items():
        stock_of(sku, on_hand)
    for number, lines in enumerate(placed, start=1):
        place(f"o-{number}", *[other(*line) for line in lines])
    known = {f"o-{number}" for number in range(1, len(placed) + 1)}

    for action, *arguments in steps:
        if action == "deliver":
            deliver(*arguments)
        elif arguments[0] in known:
            # A customer may be refused; the process, when it delivers, may not.
            with suppress(DomainError):
                action(*arguments)
        assert_conserved()
    process.deliver_all(messaging.INSIDE, messaging.STOCK, messaging.EVERYONE)
    assert_conserved()
    assert_settled([order(order_id) for order_id in known])
    assert_read_model_agrees()


def deliver(several, repeated):
    """Of the messages that may come next, these, one after the other; the last one twice or not."""
    for number, which in enumerate(several, start=1):
        if ready := process.waiting(messaging.INSIDE, messaging.STOCK):
            key, message = ready[which % len(ready)]
            if repeated and number == len(several):
                process.deliver(key, message, repeated=True)
            process.deliver(key, message)
            assert_conserved()


def assert_conserved():
    for sku, on_hand in STOCK.items():
        now = counts(sku)
        assert min(now) >= 0
        assert sum(now) == on_hand


def assert_settled(orders):
    """The stock holds what the open orders hold; what was shipped has left it."""
    reserved, shipped = Counter(), Counter()
    for one in orders:
        assert one.awaiting == ()
        ordered = Counter()
        for line in one.lines:
            ordered[line.sku] += line.quantity * (line.sku in STOCK)
        held = Counter({reservation.sku: reservation.quantity for reservation in one.reserved})
        if one.status is Status.SHIPPED:
            shipped += ordered
        if one.status in (Status.SHIPPED, Status.CANCELLED):
            assert held == Counter()
        else:
            assert held == +ordered
            assert one.status is not Status.PLACED or not held
        reserved += held
    for sku in STOCK:
        assert counts(sku)[1:] == (reserved[sku], shipped[sku])


def assert_read_model_agrees():
    shown = ("_id", "customer_id", "status", "total", "currency", "placed_at", "updated_at")
    fields = dict.fromkeys(shown, 1)
    database = process.connections.database()
    written = list(database["orders"].find({}, fields).sort("_id"))
    assert list(database["customer_orders"].find().sort("_id")) == written
