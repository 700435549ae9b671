"""The order's rules, on the aggregate alone."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orders.domain import events
from orders.domain.errors import (
    InvalidCurrency,
    InvalidLine,
    InvalidOnHand,
    NoLines,
    NotReserved,
    TooManyLines,
    TotalTooLarge,
    WrongStatus,
)
from orders.domain.line import Line
from orders.domain.order import Order, Status
from outbox import DomainError

PLACED = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 21, 13, tzinfo=UTC)
LINE = Line(sku="WIDGET-01", quantity=2, unit_price=Decimal("49.99"))

ACTIONS = {
    "add": lambda order: order.add_item(LINE, at=LATER),
    "pay": lambda order: order.pay("pay-1", at=LATER),
    "ship": lambda order: order.ship("DHL", "0034", at=LATER),
    "cancel": lambda order: order.cancel("changed", at=LATER),
    "hold": lambda order: order.note_reservation("WIDGET-01", 2, at=LATER),
}


def line(price, quantity=1):
    return Line(sku="A", quantity=quantity, unit_price=Decimal(price))


def placed(*lines, managed=()):
    return Order.place(
        "o-1",
        customer_id="c-1",
        currency="USD",
        lines=lines or [LINE],
        managed=managed,
        at=PLACED,
    )


def in_status(status):
    order = placed(managed={"WIDGET-01"} if status == "confirmed" else ())
    for action in {"placed": [], "confirmed": ["hold"], "paid": ["pay"], "shipped": ["pay", "ship"],
                   "cancelled": ["cancel"]}[status]:  # fmt: skip
        ACTIONS[action](order)
    assert order.status == status
    order.collect_events()
    return order


def state(order):
    return {name: value for name, value in vars(order).items() if name != "_recorded"}


def test_a_placed_order_says_so():
    order = placed(line("1.50"), line("0.25", 3))

    assert (order.status, order.version, order.total) == (Status.PLACED, 0, Decimal("2.25"))
    assert order.placed_at == order.updated_at == PLACED
    assert order.collect_events() == [
        events.OrderPlaced(
            lines=(line("1.50"), line("0.25", 3)), total=Decimal("2.25"), occurred_at=PLACED
        )
    ]


def test_an_item_is_a_line_of_its_own_even_of_the_same_product():
    order = in_status("placed")

    order.add_item(LINE, at=LATER)

    assert order.lines == (LINE, LINE)
    assert (order.total, order.updated_at) == (Decimal("199.96"), LATER)
    assert order.collect_events() == [
        events.ItemAdded(line=LINE, total=Decimal("199.96"), occurred_at=LATER)
    ]


def test_a_paid_order_keeps_its_payment():
    order = in_status("placed")

    order.pay("pay-1", at=LATER)

    assert (order.status, order.payment_reference) == (Status.PAID, "pay-1")
    assert (order.placed_at, order.updated_at) == (PLACED, LATER)
    assert order.collect_events() == [
        events.OrderPaid(payment_reference="pay-1", total=Decimal("99.98"), occurred_at=LATER)
    ]


def test_a_shipped_order_can_be_tracked():
    order = in_status("paid")

    order.ship("DHL", "0034", at=LATER)

    assert (order.status, order.carrier, order.tracking_number) == (Status.SHIPPED, "DHL", "0034")
    assert order.updated_at == LATER
    assert order.collect_events() == [
        events.OrderShipped(lines=(LINE,), carrier="DHL", tracking_number="0034", occurred_at=LATER)
    ]


@pytest.mark.parametrize(("status", "payment"), [("placed", None), ("paid", "pay-1")])
def test_a_cancelled_order_says_what_is_to_be_given_back(status, payment):
    order = in_status(status)

    order.cancel("changed", at=LATER)

    assert (order.status, order.cancel_reason) == (Status.CANCELLED, "changed")
    assert order.refund_due is (status == "paid")
    assert order.updated_at == LATER
    assert order.collect_events() == [
        events.OrderCancelled(
            lines=(LINE,),
            reason="changed",
            total=Decimal("99.98"),
            payment_reference=payment,
            occurred_at=LATER,
        )
    ]


ALLOWED = {
    "placed": {"add", "pay", "cancel"},
    "confirmed": {"add", "pay", "cancel"},
    "paid": {"ship", "cancel"},
    "shipped": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize("action", ["add", "pay", "ship", "cancel"])
@pytest.mark.parametrize("status", ALLOWED)
def test_a_status_allows_what_it_allows_and_refuses_the_rest(status, action):
    order = in_status(status)
    before = state(order)

    if action in ALLOWED[status]:
        ACTIONS[action](order)
        assert len(order.collect_events()) == 1
    else:
        with pytest.raises(WrongStatus, match=f"An order that is {status} can't be|have"):
            ACTIONS[action](order)
        assert state(order) == before
        assert order.collect_events() == []


@pytest.mark.parametrize("currency", ["usd", "US", "USDX", "", "US1", "USD\n", "ÄÖÜ"])
def test_a_currency_is_three_upper_case_letters(currency):
    with pytest.raises(InvalidCurrency):
        Order.place("o-1", customer_id="c-1", currency=currency, lines=[LINE], at=PLACED)


@pytest.mark.parametrize("quantity", [0, -1, 10_001])
def test_a_quantity_has_bounds(quantity):
    with pytest.raises(InvalidLine):
        line("1.00", quantity)
    assert [line("1.00", allowed).quantity for allowed in (1, 10_000)] == [1, 10_000]


@pytest.mark.parametrize(
    "price", ["-0.01", "100000000.00", "0.001", "1.999", "NaN", "sNaN", "Infinity", "-Infinity"]
)
def test_a_price_has_bounds_and_whole_cents(price):
    with pytest.raises(InvalidLine):
        line(price)


@pytest.mark.parametrize(
    ("price", "kept"),
    [("0", "0.00"), ("-0.0", "0.00"), ("9.5", "9.50"), ("1E+3", "1000.00"), ("1.500", "1.50")],
)
def test_a_price_is_kept_with_two_places(price, kept):
    assert str(line(price).unit_price) == kept


def test_an_order_of_nothing_is_none():
    with pytest.raises(NoLines):
        Order.place("o-1", customer_id="c-1", currency="USD", lines=[], at=PLACED)


def test_an_order_has_a_hundred_lines_at_most():
    order = placed(*[line("1.00")] * 100)

    with pytest.raises(TooManyLines):
        order.add_item(LINE, at=LATER)
    assert (len(order.lines), order.updated_at) == (100, PLACED)
    with pytest.raises(TooManyLines):
        placed(*[line("1.00")] * 101)


def test_a_total_has_a_bound():
    order = placed(line("99999999.99", 10), line("0.09"))
    assert order.total == Decimal("999999999.99")

    with pytest.raises(TotalTooLarge):
        order.add_item(line("0.01"), at=LATER)
    assert len(order.lines) == 2
    with pytest.raises(TotalTooLarge):
        placed(line("99999999.99", 11))


def test_what_costs_nothing_can_be_ordered():
    assert str(placed(line("0")).total) == "0.00"


@pytest.mark.parametrize(
    "error",
    [
        InvalidCurrency,
        InvalidLine,
        InvalidOnHand,
        NoLines,
        NotReserved,
        TooManyLines,
        TotalTooLarge,
        WrongStatus,
    ],
)
def test_a_broken_rule_is_a_domain_error(error):
    assert issubclass(error, DomainError)
