"""The stock's rules, on the aggregate alone."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from orders.domain import commands, events
from orders.domain.errors import InvalidOnHand, NotReserved
from orders.domain.stock import MAX_ON_HAND, Stock

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def counts(stock):
    return stock.on_hand, stock.reserved, stock.shipped


@pytest.mark.parametrize("quantity", [1, 4, 5])
def test_what_is_on_hand_can_be_reserved(quantity):
    stock = Stock("A", on_hand=5, reserved=2, shipped=1)

    stock.reserve("o-1", quantity, at=AT)

    assert counts(stock) == (5 - quantity, 2 + quantity, 1)
    assert stock.collect_events() == [
        events.StockReserved(order_id="o-1", quantity=quantity, occurred_at=AT)
    ]


@pytest.mark.parametrize("on_hand", [0, 5])
def test_what_is_not_on_hand_is_not_reserved_even_in_part(on_hand):
    stock = Stock("A", on_hand=on_hand, reserved=9)

    stock.reserve("o-1", 6, at=AT)

    assert counts(stock) == (on_hand, 9, 0)
    assert stock.collect_events() == [
        events.StockInsufficient(order_id="o-1", quantity=6, on_hand=on_hand, occurred_at=AT)
    ]


def test_what_is_released_is_on_hand_again():
    stock = Stock("A", on_hand=1, reserved=5, shipped=2)

    stock.release("o-1", 3, at=AT)

    assert counts(stock) == (4, 2, 2)
    assert stock.collect_events() == [
        events.StockReleased(order_id="o-1", quantity=3, occurred_at=AT)
    ]


def test_what_is_shipped_has_left():
    stock = Stock("A", on_hand=1, reserved=5, shipped=2)

    stock.ship("o-1", 5, at=AT)

    assert counts(stock) == (1, 0, 7)
    assert stock.collect_events() == [
        events.StockShipped(order_id="o-1", quantity=5, occurred_at=AT)
    ]


@pytest.mark.parametrize("action", [Stock.release, Stock.ship])
def test_no_more_than_is_reserved_leaves_the_reserve(action):
    stock = Stock("A", on_hand=10, reserved=2)

    with pytest.raises(NotReserved, match=r"Of A, 2 are reserved, not 3\."):
        action(stock, "o-1", 3, at=AT)
    assert counts(stock) == (10, 2, 0)
    assert stock.collect_events() == []


def test_setting_changes_what_is_on_hand_and_nothing_else():
    stock = Stock("A", on_hand=1, reserved=5, shipped=2)

    stock.set(7, at=AT)

    assert counts(stock) == (7, 5, 2)
    assert stock.collect_events() == [events.StockSet(on_hand=7, occurred_at=AT)]


@pytest.mark.parametrize("on_hand", [-1, MAX_ON_HAND + 1])
def test_what_is_on_hand_has_bounds(on_hand):
    stock = Stock("A", on_hand=3)

    with pytest.raises(InvalidOnHand):
        stock.set(on_hand, at=AT)
    assert (counts(stock), stock.collect_events()) == ((3, 0, 0), [])
    for allowed in (0, MAX_ON_HAND):
        stock.set(allowed, at=AT)


@pytest.mark.parametrize("quantity", [0, -1])
@pytest.mark.parametrize(
    "command",
    [
        commands.ReserveStock,
        commands.ReleaseStock,
        commands.ShipStock,
        commands.NoteReservation,
        commands.RejectForStock,
    ],
)
def test_nothing_moves_by_less_than_one(command, quantity):
    with pytest.raises(ValidationError):
        command(sku="A", order_id="o-1", quantity=quantity)
