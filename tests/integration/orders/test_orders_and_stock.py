"""Orders that wait for their stock, over HTTP and in their documents."""

import pytest

from tests.integration.orders.client import BODIES, ITEM, assert_problem
from tests.unit.orders.process import deliver_inside

HELD = [{"sku": "WIDGET-01", "quantity": 2}]


@pytest.fixture
def stocked(staff):
    """There are five widgets, and as many gadgets as anyone wants."""
    staff.set_stock("WIDGET-01", 5)


def order(api, order_id):
    return api.get(f"/api/orders/{order_id}/").json()


def counts(api):
    stock = api.get("/api/stock/WIDGET-01/").json()
    return stock["on_hand"], stock["reserved"], stock["shipped"]


def test_an_order_waits_for_its_stock_and_is_confirmed(api, mongo, stocked):
    placed = api.place().json()
    order_id = placed["order_id"]
    assert (placed["status"], placed["awaiting_stock"]) == ("placed", True)
    assert mongo["orders"].find_one()["awaiting"] == HELD

    deliver_inside()

    confirmed = order(api, order_id)
    assert (confirmed["status"], confirmed["awaiting_stock"]) == ("confirmed", False)
    assert (confirmed["version"], counts(api)) == (2, (3, 2, 0))
    document = mongo["orders"].find_one()
    assert "awaiting" not in document
    assert document["reserved"] == HELD
    assert [m["type"] for m in document["outbox"]["pending"]] == ["OrderPlaced", "OrderConfirmed"]


def test_an_order_can_not_be_shipped_before_its_stock_is_held(api, mongo, stocked):
    order_id = api.placed()
    api.command(order_id, "pay")
    stored = mongo["orders"].find_one()

    problem = assert_problem(api.command(order_id, "ship"), 422)

    assert problem["type"] == "urn:problem-type:wrong-status"
    assert problem["detail"] == "An order that waits for its stock can't be shipped."
    assert mongo["orders"].find_one() == stored
    deliver_inside()
    assert order(api, order_id)["status"] == "paid"
    assert api.command(order_id, "ship").json()["status"] == "shipped"
    assert "reserved" not in mongo["orders"].find_one()
    deliver_inside()
    assert counts(api) == (3, 0, 2)


def test_an_order_without_stock_is_cancelled_and_the_payment_is_due(api, mongo, stocked):
    order_id = api.placed(items=[ITEM | {"quantity": 6}])
    api.command(order_id, "pay")

    deliver_inside()

    cancelled = order(api, order_id)
    assert (cancelled["status"], cancelled["refund_due"]) == ("cancelled", True)
    assert cancelled["cancel_reason"] == "WIDGET-01 is out of stock"
    assert mongo["orders"].find_one()["refund_due"] is True
    assert counts(api) == (5, 0, 0)


def test_a_cancelled_order_gives_its_stock_back(api, mongo, stocked):
    order_id = api.placed()
    deliver_inside()

    cancelled = api.command(order_id, "cancel").json()
    deliver_inside()

    assert (cancelled["status"], cancelled["refund_due"]) == ("cancelled", False)
    assert not mongo["orders"].find_one().keys() & {"reserved", "awaiting", "refund_due"}
    assert counts(api) == (5, 0, 0)


def test_an_added_item_is_awaited_too(api, stocked):
    order_id = api.placed()
    deliver_inside()

    added = api.command(order_id, "items", ITEM).json()
    assert (added["status"], added["awaiting_stock"]) == ("confirmed", True)
    deliver_inside()

    assert order(api, order_id)["awaiting_stock"] is False
    assert counts(api) == (1, 4, 0)


def test_which_stock_is_managed_is_asked_once(api, commands, stocked):
    commands.clear()

    order_id = api.placed(items=[ITEM, BODIES["items"], ITEM])
    assert commands.on("stock", "orders") == [("find", "stock"), ("insert", "orders")]
    commands.clear()
    api.command(order_id, "items")

    assert commands.on("stock", "orders") == [
        ("find", "orders"),
        ("find", "stock"),
        ("update", "orders"),
    ]


def test_a_list_can_be_of_confirmed_orders(api, stocked):
    order_id = api.placed()
    api.placed(items=[BODIES["items"]])
    deliver_inside()

    listed = api.get("/api/orders/?status=confirmed").json()["results"]

    assert [one["order_id"] for one in listed] == [order_id]


def test_the_answer_to_a_repeat_is_the_first_one(api, stocked):
    first = api.place(Idempotency_Key="k")
    deliver_inside()

    assert api.place(Idempotency_Key="k").content == first.content
