"""What the demo says of the consumers' work: every kind of wrong is told from right."""

import pytest

from config.demo.circle import Letter, compare, letters_in

SKU, UNITS = "GADGET-01", {"GADGET-01": 10}


def order(order_id="o-1", status="placed", quantity=2, sku=SKU, **fields):
    return {
        "_id": order_id,
        "customer_id": "cust-1",
        "status": status,
        "items": [{"sku": sku, "quantity": quantity}],
        "total": "5.00",
        "currency": "EUR",
        "placed_at": 1,
        "updated_at": 2,
        **fields,
    }


def row(document, **changes):
    names = ("_id", "customer_id", "status", "total", "currency", "placed_at", "updated_at")
    return {name: document[name] for name in names} | changes


def stock(on_hand=10, reserved=0, shipped=0):
    return {"_id": SKU, "on_hand": on_hand, "reserved": reserved, "shipped": shipped}


def circle_of(*orders, rows=None, **others):
    return compare(orders, rows=map(row, orders) if rows is None else rows, **others)


def stocked(*orders, **counts):
    letters = [
        Letter(f"m-{one['_id']}", one["_id"]) for one in orders if one["status"] == "shipped"
    ]
    return circle_of(*orders, stock=[stock(**counts)], units=UNITS, letters=letters)


def test_nothing_at_all_is_closed():
    assert compare([]).is_closed


def test_it_is_closed_when_all_say_the_same():
    orders = [
        order("o-1", "confirmed", 2),
        order("o-2", "shipped", 3),
        order("o-3", "cancelled", 4, cancel_reason="changed my mind"),
        order("o-4", "paid", 9, sku="WIDGET-01"),
    ]
    circle = stocked(*orders, on_hand=5, reserved=2, shipped=3)
    assert circle.is_closed
    assert (circle.orders, circle.rows, circle.shipped, circle.letters) == (4, 4, 1, 1)
    assert circle.units == circle.units_before == 10


def test_an_order_without_a_row_differs():
    circle = circle_of(order(), rows=[])
    assert circle.differing == ["o-1"]
    assert not circle.is_closed


def test_a_row_without_an_order_differs():
    assert circle_of(order(), rows=[row(order()), row(order("o-2"))]).differing == ["o-2"]


@pytest.mark.parametrize(
    "name", ["customer_id", "status", "total", "currency", "placed_at", "updated_at"]
)
def test_a_row_that_says_something_else_differs(name):
    circle = circle_of(order(), rows=[row(order(), **{name: "else"})])
    assert circle.differing == ["o-1"]
    assert not circle.is_closed


def test_an_order_that_awaits_stock_keeps_it_open():
    circle = circle_of(order(awaiting=[{"sku": SKU, "quantity": 2}]))
    assert circle.awaiting == ["o-1"]
    assert not circle.is_closed
    assert circle_of(order(awaiting=[])).is_closed


def test_an_order_cancelled_for_lack_of_stock_is_counted_and_no_fault():
    circle = circle_of(
        order("o-1", "cancelled", cancel_reason=f"{SKU} is out of stock"),
        order("o-2", "cancelled", cancel_reason="changed my mind"),
    )
    assert circle.out_of_stock == ["o-1"]
    assert circle.is_closed


@pytest.mark.parametrize(
    "counts",
    [
        {"on_hand": 9, "reserved": 0},
        {"on_hand": 11, "reserved": 0},
        {"on_hand": 12, "reserved": -2},
    ],
)
def test_units_that_are_lost_invented_or_less_than_none_are_unsound(counts):
    circle = stocked(**counts)
    assert circle.unsound == [SKU]
    assert not circle.is_closed


def test_stock_that_is_gone_is_unsound():
    assert circle_of(units=UNITS).unsound == [SKU]


@pytest.mark.parametrize("status", ["placed", "confirmed", "paid", "shipped"])
def test_what_orders_have_and_the_stock_does_not_know_of_is_oversold(status):
    circle = stocked(order(status=status), on_hand=10)
    assert (circle.oversold, circle.stranded) == (2, 0)
    assert not circle.unsound
    assert not circle.is_closed


@pytest.mark.parametrize("name", ["reserved", "shipped"])
def test_what_the_stock_keeps_for_no_order_is_stranded(name):
    cancelled = order(status="cancelled", cancel_reason="changed my mind")
    circle = stocked(cancelled, on_hand=8, **{name: 2})
    assert (circle.oversold, circle.stranded) == (0, 2)
    assert not circle.is_closed


def test_too_much_of_one_product_does_not_make_up_for_too_little_of_another():
    orders = [order("o-1", "paid", 2), order("o-2", "paid", 3, sku="GIZMO-01")]
    other = {"_id": "GIZMO-01", "on_hand": 8, "reserved": 2, "shipped": 0}
    units = {SKU: 10, "GIZMO-01": 10}
    circle = circle_of(*orders, stock=[stock(7, reserved=3), other], units=units)
    assert (circle.oversold, circle.stranded) == (1, 1)
    assert not circle.unsound


def test_a_shipped_order_without_a_letter_keeps_it_open():
    shipped = order(status="shipped")
    assert circle_of(shipped).unwritten == ["o-1"]
    assert not circle_of(shipped).is_closed
    assert circle_of(shipped, letters=[Letter("m-1", "o-1")]).is_closed


def test_a_letter_sent_again_is_counted_and_no_fault():
    circle = circle_of(order(status="shipped"), letters=[Letter("m-1", "o-1")] * 3)
    assert (circle.letters, circle.repeats) == (1, 2)
    assert circle.is_closed


@pytest.mark.parametrize(("status", "letters"), [("paid", ["m-1"]), ("shipped", ["m-1", "m-2"])])
def test_a_letter_too_many_is_a_fault(status, letters):
    circle = circle_of(order(status=status), letters=[Letter(one, "o-1") for one in letters])
    assert circle.overwritten == ["o-1"]
    assert not circle.is_closed


def test_letters_about_other_orders_do_not_count():
    circle = circle_of(order(), letters=[Letter("m-1", "o-2")])
    assert circle.letters == 0
    assert circle.is_closed


def test_a_dead_letter_keeps_it_open():
    assert not circle_of(dead_letters=1).is_closed


def test_letters_are_found_among_what_else_is_logged():
    log = (
        "Consuming for letters.\n"
        "To: cust-1@customers.example.com\n"
        "Message-ID: <0197@shop.example.com>\nX-Order-ID: o-1\n\nYour order …\n"
        f"{'-' * 79}\n"
        "Message-ID: <0198@shop.exam"  # killed just then
        "Consuming for letters.\n"
        "Message-ID: <0198@shop.example.com>\nX-Order-ID: o-2\n\nYour order …\n"
    )
    assert letters_in(log) == [
        ("0197@shop.example.com", "o-1"),
        ("0198@shop.example.com", "o-2"),
    ]
