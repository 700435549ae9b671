"""Bad input: a problem with the right status, never a 500, and nothing stored."""

import json

import pytest

from tests.integration.orders.client import BODIES, ITEM, ORDER, assert_problem

ABSENT = object()


@pytest.fixture(autouse=True)
def _nothing_stored(mongo):
    yield
    assert mongo["orders"].count_documents({}) == 0


def order_with(field, value):
    """The bytes of an order with `value` in `field`, which may be one of its item's."""
    order = json.loads(json.dumps(ORDER))
    holder = order["items"][0] if field in ITEM else order
    holder[field] = value
    if value is ABSENT:
        del holder[field]
    return json.dumps(order).encode()


NO_TEXT = [None, 1, 1.5, True, [], {}, {"$gt": ""}, ["x"], "", " ", "\u0000", "a\nb", "x" * 501]
NO_NAME = [*NO_TEXT, "a b", "a/b", "..", "é", "x" * 65, "a\n"]
VALUES = {
    "customer_id": NO_NAME,
    "sku": NO_NAME,
    "currency": [*NO_TEXT, "usd", "US", "USDX", "ÜSD", "USD\n"],
    "items": [None, 1, "x", {}, {"$gt": ""}, [], [1], [None], [[]], [ITEM] * 101, [ITEM, 7]],
    "quantity": [None, "2", 1.5, 1e9, True, 0, -1, 10_001, 10**30, 10**400, [], {"$gt": 0}],
    "unit_price": [
        None,
        True,
        "",
        "x",
        "-1",
        -1,
        "1.999",
        1.999,
        "1e2",
        "NaN",
        "Infinity",
        " 1",
        "1_0",
        "٣",
        "100000000.00",
        1e8,
        1e300,
        10**400,
        -0.01,
        [],
        {"$numberDecimal": "1"},
    ],
}


@pytest.mark.parametrize("field", VALUES)
def test_a_field_of_the_wrong_kind_is_pointed_at(api, field):
    where = f"#/items/0/{field}" if field in ITEM else f"#/{field}"
    for value in [*VALUES[field], ABSENT]:
        problem = assert_problem(api.place(order_with(field, value)), 400)
        assert problem["errors"], value
        assert all(error["pointer"].startswith(where) for error in problem["errors"]), value


@pytest.mark.parametrize("field", ["customer", "$where", "_id", "outbox", "a/b~c", "", "version"])
def test_an_unknown_field_is_refused(api, field):
    problem = assert_problem(api.place(ORDER | {field: 1}), 400)

    pointer = "#/" + field.replace("~", "~0").replace("/", "~1")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_an_unknown_field_of_an_item_is_refused(api):
    problem = assert_problem(api.place(ORDER | {"items": [ITEM | {"total": 0}]}), 400)

    assert [error["pointer"] for error in problem["errors"]] == ["#/items/0/total"]


@pytest.mark.parametrize("name", BODIES)
def test_each_command_refuses_what_is_not_its_body(api, name):
    for body in (
        {},
        ORDER,
        BODIES[name] | {"x": 1},
        {field: {"$gt": ""} for field in BODIES[name]},
    ):
        problem = assert_problem(api.command("any", name, json.dumps(body).encode()), 400)
        assert problem["errors"]


BROKEN = {
    "nothing": b" ",
    "half an object": b'{"customer_id": "c"',
    "two objects": b"{} {}",
    "not UTF-8": b'{"customer_id": "\xff\xfe"}',
    "UTF-16": '{"customer_id": "c"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "single quotes": b"{'customer_id': 'c'}",
    "NaN": order_with("unit_price", 1).replace(b'"unit_price": 1', b'"unit_price": NaN'),
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "a number of 5,000 digits": b'{"a": %s}' % (b"9" * 5000),
    "an exponent beyond all bounds": b'{"a": 1e99999999999999999999}',
    "nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists nested 200,000 deep": b"[" * 200_000,
    "a name twice": b'{"customer_id": "a", "customer_id": "b"}',
    "half a surrogate pair": order_with("customer_id", "X").replace(b"X", b"\\ud800"),
    "half a pair in a name": b'{"\\udfff": 1}',
    "a list": json.dumps([ORDER]).encode(),
    "a string": b'"order"',
    "a number": b"1",
    "null": b"null",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_is_no_json_object_is_refused(api, body):
    problem = assert_problem(api.place(body), 400)

    assert "request's body" in problem["detail"]


def test_an_exponent_that_is_only_too_large_is_refused(api):
    body = order_with("unit_price", 7).replace(b'"unit_price": 7', b'"unit_price": 1e400')

    assert_problem(api.place(body), 400)


def test_an_empty_body_lacks_its_fields(api):
    problem = assert_problem(api.place(b""), 400)

    assert [e["pointer"] for e in problem["errors"]] == ["#/customer_id", "#/currency", "#/items"]


def test_ten_thousand_items_are_refused(api):
    problem = assert_problem(api.place(ORDER | {"items": [ITEM] * 10_000}), 400)

    assert [error["pointer"] for error in problem["errors"]] == ["#/items"]


def test_an_answer_to_nothing_but_errors_is_short(api):
    body = {f"field-{i}": i for i in range(10_000)}

    assert len(assert_problem(api.place(body), 400)["errors"]) == 50


def test_a_quantity_with_a_point_is_refused_unless_it_is_whole(api, mongo):
    """JSON Schema calls 2.0 an integer."""
    body = order_with("quantity", 7)
    for number in (b"7.5", b"1e400", b"1e-400", b"1e999999999", b"-7.0"):
        assert_problem(api.place(body.replace(b": 7,", b": %s," % number)), 400)

    order = api.place(body.replace(b": 7,", b": 7.0,")).json()
    assert order["items"][0]["quantity"] == 7
    mongo["orders"].delete_one({})


def test_a_body_in_chunks_needs_a_length(api):
    assert_problem(api.place(Transfer_Encoding="chunked"), 411)


def test_a_body_of_2_mb_is_too_large(api):
    assert_problem(api.place(ORDER | {"customer_id": "x" * 2**21}), 413)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "x",
        "application/jsonp",
    ],
)
def test_a_body_that_does_not_claim_to_be_json_is_refused(api, content_type):
    assert_problem(api.send("/api/orders/", ORDER, content_type=content_type), 415)


@pytest.mark.parametrize(
    "order_id",
    ["%00", "%2e%2e", "%ff%fe", "a%0Ab", "%F0%9F%A6%84", "$gt", "{}", "%5B%5D", "x" * 5000, "%20"],
)
def test_an_id_of_odd_characters_is_not_found(api, order_id):
    assert_problem(api.get(f"/api/orders/{order_id}/"), 404)
    assert_problem(api.command(order_id, "pay"), 404)


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "status[$gt]=",
        "cursor=x",
        "cursor=é",
        "cursor=%00",
        "cursor=bm8",
        "cursor=MTAgYQ==!!!!",
        "x=1",
        "cursor=OTk5OTk5OTk5OTk5OTk5IGE=",
        "cursor=MSA=",
        "cursor=LTEgYQ",
        "status=%ff",
    ],
)
def test_a_list_refuses_parameters_that_it_does_not_know(api, query):
    problem = assert_problem(api.get(f"/api/orders/?{query}"), 400)

    assert [error["parameter"] for error in problem["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("value", ["%00", "%ed%a0%80", "$gt", "{}", "x" * 5000, "a&customer_id=b"])
def test_a_list_of_nobodys_orders_is_empty(api, value):
    response = api.get(f"/api/orders/?customer_id={value}")

    assert response.status_code == 200
    assert response.json() == {"results": [], "next": None}
