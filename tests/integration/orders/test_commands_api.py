"""Commands over HTTP: what they answer, and what they leave in the document."""

import re
from datetime import UTC, datetime

import pytest
from bson import Decimal128

from tests.integration.orders.client import BODIES, ITEM, ORDER, assert_problem


def test_a_placed_order_is_answered_with_where_and_at_which_version_it_is(api):
    response = api.place()

    order = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/orders/{order['order_id']}/"
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", order["placed_at"])
    assert order == {
        "order_id": order["order_id"],
        "customer_id": "cust-789",
        "currency": "USD",
        "status": "placed",
        "items": [ITEM],
        "total": "99.98",
        "payment_reference": None,
        "carrier": None,
        "tracking_number": None,
        "cancel_reason": None,
        "refund_due": False,
        "awaiting_stock": False,
        "placed_at": order["placed_at"],
        "updated_at": order["placed_at"],
        "version": 1,
    }


def test_a_placed_order_and_its_messages_are_one_document(api, mongo):
    order_id = api.placed()

    document = mongo["orders"].find_one({"_id": order_id})
    outbox = document.pop("outbox")
    moment = document["placed_at"]
    assert abs(datetime.now(UTC) - moment).total_seconds() < 60
    assert document == {
        "_id": order_id,
        "version": 1,
        "customer_id": "cust-789",
        "currency": "USD",
        "status": "placed",
        "items": [{"sku": "WIDGET-01", "quantity": 2, "unit_price": Decimal128("49.99")}],
        "total": Decimal128("99.98"),
        "placed_at": moment,
        "updated_at": moment,
    }
    assert [(m["topic"], m["type"], m["sequence"]) for m in outbox["pending"]] == [
        ("orders", "OrderPlaced", 1),
        ("orders-internal", "InternalOrderPlaced", 1),
    ]


def test_the_published_order_is_the_contract_to_the_byte(api, mongo):
    api.place()
    document = mongo["orders"].find_one()

    assert document["outbox"]["pending"][0]["payload"] == (
        f'{{"orderId":"{document["_id"]}","customerId":"cust-789",'
        '"items":[{"sku":"WIDGET-01","quantity":2}],"total":99.98,"currency":"USD"}'
    )


def test_commands_answer_the_order_and_its_next_version(api):
    order_id = api.placed()

    added = api.command(order_id, "items")
    paid = api.command(order_id, "pay")
    shipped = api.command(order_id, "ship")

    assert [r.status_code for r in (added, paid, shipped)] == [200, 200, 200]
    assert [r.headers["ETag"] for r in (added, paid, shipped)] == ['"2"', '"3"', '"4"']
    assert [r.json()["status"] for r in (added, paid, shipped)] == ["placed", "paid", "shipped"]
    assert added.json()["items"] == [ITEM, BODIES["items"]]
    assert added.json()["total"] == "109.99"
    assert paid.json()["payment_reference"] == "pay-1"
    order = shipped.json()
    assert (order["carrier"], order["tracking_number"]) == ("DHL", "00340434")
    assert order == api.get(f"/api/orders/{order_id}/").json()


def test_every_command_leaves_one_message_for_everyone_and_one_for_inside(api, mongo):
    order_id = api.placed()
    for name in ("items", "pay", "ship"):
        api.command(order_id, name)
    other_id = api.placed()
    api.command(other_id, "cancel")

    def messages(order_id, topic):
        pending = mongo["orders"].find_one({"_id": order_id})["outbox"]["pending"]
        return [(m["sequence"], m["type"]) for m in pending if m["topic"] == topic]

    assert messages(order_id, "orders") == [
        (1, "OrderPlaced"),
        (2, "OrderItemAdded"),
        (3, "OrderPaid"),
        (4, "OrderShipped"),
    ]
    assert messages(order_id, "orders-internal") == [
        (1, "InternalOrderPlaced"),
        (2, "InternalOrderItemAdded"),
        (3, "InternalOrderPaid"),
        (4, "InternalOrderShipped"),
    ]
    assert messages(other_id, "orders")[1:] == [(2, "OrderCancelled")]
    assert messages(other_id, "orders-internal")[1:] == [(2, "InternalOrderCancelled")]


def test_a_paid_order_can_be_cancelled_and_says_why(api):
    order_id = api.placed()
    api.command(order_id, "pay")

    order = api.command(order_id, "cancel").json()

    assert order["status"] == "cancelled"
    assert order["cancel_reason"] == "Changed my mind"
    assert order["refund_due"] is True
    assert api.get(f"/api/orders/{order_id}/").json() == order


def test_a_shipped_order_shows_names_that_the_catalogue_knew_then(api, mongo, commands):
    mongo["products"].insert_one({"_id": "WIDGET-01", "name": "Widget"})
    order_id = api.placed(items=[ITEM, BODIES["items"], ITEM])
    api.command(order_id, "pay")
    commands.clear()

    api.command(order_id, "ship")
    mongo["products"].update_one({"_id": "WIDGET-01"}, {"$set": {"name": "Something else"}})

    assert commands.on("products")[:-1] == [("find", "products")], "one query for all items"
    pending = mongo["orders"].find_one({"_id": order_id})["outbox"]["pending"]
    (shipped,) = [m["payload"] for m in pending if m["type"] == "OrderShipped"]
    assert shipped == (
        f'{{"orderId":"{order_id}","customerId":"cust-789",'
        '"items":[{"sku":"WIDGET-01","quantity":2,"name":"Widget"},'
        '{"sku":"GADGET-01","quantity":1,"name":null},'
        '{"sku":"WIDGET-01","quantity":2,"name":"Widget"}],'
        '"carrier":"DHL","trackingNumber":"00340434"}'
    )


def test_a_command_takes_one_read_and_one_write(api, commands):
    order_id = api.placed()
    commands.clear()

    api.command(order_id, "pay")

    assert commands.on("orders") == [("find", "orders"), ("update", "orders")]


@pytest.mark.parametrize("name", BODIES)
def test_a_command_on_an_unknown_order_is_not_found(api, mongo, name):
    problem = assert_problem(api.command("unknown", name), 404)

    assert problem["type"] == "urn:problem-type:aggregate-not-found"
    assert mongo["orders"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("before", "name", "detail"),
    [
        ((), "ship", "An order that is placed can't be shipped."),
        (("pay",), "items", "An order that is paid can't have items added."),
        (("pay",), "pay", "An order that is paid can't be paid."),
        (("pay", "ship"), "cancel", "An order that is shipped can't be cancelled."),
        (("cancel",), "cancel", "An order that is cancelled can't be cancelled."),
    ],
)
def test_a_broken_rule_is_named_and_nothing_changes(api, mongo, before, name, detail):
    order_id = api.placed()
    for command in before:
        assert api.command(order_id, command).status_code == 200
    stored = mongo["orders"].find_one({"_id": order_id})

    problem = assert_problem(api.command(order_id, name), 422)

    assert problem == {
        "type": "urn:problem-type:wrong-status",
        "title": "The order's status does not allow this.",
        "status": 422,
        "detail": detail,
        "instance": f"/api/orders/{order_id}/{name}/",
    }
    assert mongo["orders"].find_one({"_id": order_id}) == stored


def test_a_total_too_large_for_an_order_is_refused(api, mongo):
    items = [{"sku": "A", "quantity": 10_000, "unit_price": "99999999.99"}]

    assert_problem(api.place(ORDER | {"items": items}), 422)
    assert mongo["orders"].count_documents({}) == 0


def test_a_full_order_takes_no_more_items(api):
    order_id = api.placed(items=[ITEM | {"unit_price": "1.00"}] * 100)

    problem = assert_problem(api.command(order_id, "items"), 422)

    assert problem["type"] == "urn:problem-type:too-many-lines"
