"""An order and its stock: what it awaits, and what it makes of the answers."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orders.domain import events
from orders.domain.errors import WrongStatus
from orders.domain.line import Line
from orders.domain.order import Status
from orders.domain.reservation import Reservation
from tests.unit.orders.test_order import LATER, placed, state

LAST = datetime(2026, 11, 21, 14, tzinfo=UTC)


def held(sku, quantity):
    return Reservation(sku=sku, quantity=quantity)


def awaiting(*skus):
    """An order of one of each, that awaits them all."""
    order = placed(*map(other, skus), managed=set(skus))
    order.collect_events()
    return order


def other(sku, quantity=1):
    return Line(sku=sku, quantity=quantity, unit_price=Decimal("49.99"))


def test_an_order_awaits_what_is_managed_and_the_same_product_once():
    order = placed(other("A", 2), other("B"), other("C", 5), other("A", 3), managed={"A", "C", "X"})

    (event,) = order.collect_events()
    assert event.reserve == order.awaiting == (held("A", 5), held("C", 5))
    assert (order.status, order.reserved) == (Status.PLACED, ())


def test_an_order_of_what_nobody_manages_awaits_nothing():
    order = placed(managed={"X"})
    order.add_item(other("A"), managed={"X"}, at=LATER)

    assert (order.awaiting, order.reserved) == ((), ())
    assert [event.reserve for event in order.collect_events()] == [(), ()]


def test_each_added_item_is_awaited_on_its_own():
    order = awaiting("A")

    order.add_item(other("A", 3), managed={"A"}, at=LATER)
    order.add_item(other("A", 3), managed={"A"}, at=LATER)

    assert order.awaiting == (held("A", 1), held("A", 3), held("A", 3))
    assert [event.reserve for event in order.collect_events()] == [(held("A", 3),)] * 2


def test_an_order_is_confirmed_with_the_last_that_it_awaited():
    order = awaiting("A", "B")

    order.note_reservation("B", 1, at=LATER)

    assert (order.status, order.updated_at) == (Status.PLACED, order.placed_at)
    assert (order.awaiting, order.reserved) == ((held("A", 1),), (held("B", 1),))
    assert order.collect_events() == []

    order.note_reservation("A", 1, at=LAST)

    assert (order.status, order.updated_at) == (Status.CONFIRMED, LAST)
    assert (order.awaiting, order.reserved) == ((), (held("B", 1), held("A", 1)))
    assert order.collect_events() == [events.OrderConfirmed(status="confirmed", occurred_at=LAST)]


def test_a_paid_order_stays_paid_when_it_is_confirmed():
    order = awaiting("A")
    order.pay("pay-1", at=LATER)
    order.collect_events()

    order.note_reservation("A", 1, at=LAST)

    assert (order.status, order.updated_at) == (Status.PAID, LAST)
    assert order.collect_events() == [events.OrderConfirmed(status="paid", occurred_at=LAST)]


def test_a_confirmed_order_awaits_an_added_item_and_is_confirmed_again():
    order = awaiting("A")
    order.note_reservation("A", 1, at=LATER)
    order.add_item(other("A", 3), managed={"A"}, at=LATER)
    assert order.status is Status.CONFIRMED
    order.collect_events()

    order.note_reservation("A", 3, at=LAST)

    assert (order.status, order.reserved) == (Status.CONFIRMED, (held("A", 4),))
    assert order.collect_events() == [events.OrderConfirmed(status="confirmed", occurred_at=LAST)]


def test_an_order_is_not_shipped_before_all_of_its_stock_is_held():
    order = awaiting("A", "B")
    order.note_reservation("A", 1, at=LATER)
    order.pay("pay-1", at=LATER)
    before = state(order)

    with pytest.raises(
        WrongStatus, match=r"^An order that waits for its stock can't be shipped\.$"
    ):
        order.ship("DHL", "1", at=LAST)
    assert state(order) == before

    order.note_reservation("B", 1, at=LATER)
    order.collect_events()
    order.ship("DHL", "1", at=LAST)

    (event,) = order.collect_events()
    assert event.reserved == (held("A", 1), held("B", 1))
    assert order.reserved == ()


def test_a_cancelled_order_gives_back_what_is_held_and_drops_what_comes_later():
    order = awaiting("A", "B")
    order.note_reservation("A", 1, at=LATER)

    order.cancel("changed", at=LATER)

    (event,) = order.collect_events()
    assert event.reserved == (held("A", 1),)
    assert (order.reserved, order.awaiting) == ((), (held("B", 1),))

    order.note_reservation("B", 1, at=LAST)

    assert (order.reserved, order.awaiting) == ((), ())
    assert (order.status, order.updated_at) == (Status.CANCELLED, LATER)
    assert order.collect_events() == [
        events.ReservationDropped(sku="B", quantity=1, occurred_at=LAST)
    ]


@pytest.mark.parametrize(("sku", "quantity"), [("A", 2), ("B", 1)])
def test_what_was_not_awaited_is_dropped(sku, quantity):
    order = awaiting("A")
    before = state(order)

    order.note_reservation(sku, quantity, at=LAST)

    assert state(order) == before
    assert order.collect_events() == [
        events.ReservationDropped(sku=sku, quantity=quantity, occurred_at=LAST)
    ]


@pytest.mark.parametrize("status", ["placed", "confirmed", "paid"])
def test_an_order_is_cancelled_for_want_of_stock_whatever_has_been_paid(status):
    order = awaiting("A")
    if status == "confirmed":
        order.note_reservation("A", 1, at=LATER)
        order.add_item(other("A", 3), managed={"A"}, at=LATER)
    else:
        order.add_item(other("A", 3), managed={"A"}, at=LATER)
        order.note_reservation("A", 1, at=LATER)
    if status == "paid":
        order.pay("pay-1", at=LATER)
    assert order.status == status
    order.collect_events()

    order.reject_for_stock("A", 3, at=LAST)

    assert (order.status, order.cancel_reason) == (Status.CANCELLED, "A is out of stock")
    assert (order.awaiting, order.reserved, order.updated_at) == ((), (), LAST)
    assert order.refund_due is (status == "paid")
    (event,) = order.collect_events()
    assert isinstance(event, events.OrderCancelled)
    assert event.reserved == (held("A", 1),)


def test_a_cancelled_order_only_awaits_less_when_there_is_not_enough():
    order = awaiting("A", "B")
    order.cancel("changed", at=LATER)
    order.collect_events()
    before = state(order)

    order.reject_for_stock("B", 1, at=LAST)

    assert state(order) == before | {"awaiting": (held("A", 1),)}
    assert order.collect_events() == []


@pytest.mark.parametrize("status", ["placed", "shipped"])
def test_a_refusal_of_what_was_not_awaited_changes_nothing(status):
    order = placed()
    if status == "shipped":
        order.pay("pay-1", at=LATER)
        order.ship("DHL", "1", at=LATER)
    order.collect_events()
    before = state(order)

    order.reject_for_stock("WIDGET-01", 2, at=LAST)

    assert (state(order), order.collect_events()) == (before, [])
