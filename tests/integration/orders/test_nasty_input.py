"""Nasty input: whatever comes in through any opening, nothing breaks and nothing else is touched.

Operators of MongoDB, control characters, what isn't text, what is far too long: in every part of
the path and the query, every field, name of a field and header, as staff, who may do the most.
"""

import json
from base64 import urlsafe_b64encode
from urllib.parse import quote

import pytest

from tests.integration.orders.client import BODIES, ITEM, ORDER, assert_problem
from tests.integration.orders.test_endpoints import contents

TEXTS = [
    "$where",
    "$ne",
    "$",
    "a.b",
    ".",
    "..",
    "outbox.pending",
    "outbox",
    "_id",
    "__proto__",
    '{"$ne": null}',
    '{"$gt": ""}',
    "[$ne]",
    "sleep(1000)",
    "'; return true; //",
    "\x00",
    "a\x00b",
    "a\r\nX-Evil: 1",
    "\u2028",
    "\ufeff",
    "\U0001f984",
    "é",
    "%00",
    "%",
    "../../admin/",
    "x" * 10_000,
    "é" * 5_000,
    "-1",
    "1e400",
    "NaN",
    "null",
    "None",
    "{customer_id}",
    "${jndi:ldap://x}",
    "<script>",
    " ",
    "",
]
#: As they may come in JSON, where a text is wanted.
VALUES = [
    *TEXTS,
    {"$ne": None},
    {"$gt": ""},
    {"$where": "1"},
    {"$regex": ".*"},
    {"a.b": 1},
    {"": ""},
    {"__proto__": {}},
    {"$oid": "0" * 24},
    {"$numberDecimal": "1"},
    ["$ne"],
    [[[]]],
    None,
    True,
    -1,
    10**400,
]
GET = ["/api/orders/{}/", "/api/customers/{}/orders/", "/api/stock/{}/"]
#: In a header nothing else can be sent, and no server would take a longer one.
HEADER_TEXTS = [t[:8000] for t in TEXTS if t.isprintable() and t.isascii()] + ["\xff", "\x7f", '"']


def in_all(value):
    """All names of fields, and all values, in what is stored, however deep."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield "name", name
            yield from in_all(one)
    elif isinstance(value, list):
        for one in value:
            yield from in_all(one)
    else:
        yield "value", value


def names_in(value):
    return {found for what, found in in_all(value) if what == "name"}


def texts_in(value):
    return {str(found) for what, found in in_all(value) if what == "value"}


@pytest.fixture
def shop(staff, mongo):
    """An order and a stock, as they are stored; afterwards they have to be as they were."""
    staff.set_stock("WIDGET-01", 5)
    order_id = staff.placed()
    before = contents(mongo)
    yield order_id
    assert contents(mongo) == before


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_a_path_leads_to_what_is_there_or_nowhere(staff, shop, text):
    for path in GET:
        response = staff.get(path.format(quote(text, safe="")))
        assert response.status_code in ((200, 404) if "customers" in path else (404,)), path
        if response.status_code == 200:
            assert response.json() == {"results": [], "next": None}
    for name in BODIES:
        assert_problem(staff.command(quote(text, safe=""), name), 404)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_a_query_finds_what_it_says_and_no_more(staff, shop, text):
    value = quote(text, safe="")
    found = staff.get(f"/api/orders/?customer_id={value}")
    assert found.status_code == 200
    assert len(found.json()["results"]) == (not text), "an empty one counts as not given"
    for path in ("/api/orders/?status={}", "/api/orders/?cursor={}", "/api/orders/?x{}=1"):
        response = staff.get(path.format(value))
        assert response.status_code == (400 if text or "?x" in path else 200), path
    for name in ("customer_id", "status", "cursor"):
        for bracket in (f"{name}[{value}]", f"{name}[$ne]", f"{name}.{value}", f"${name}"):
            assert_problem(staff.get(f"/api/orders/?{bracket}=1"), 400)


CURSORS = [
    *(f"1 {text}" for text in TEXTS if text),
    *(
        "$gt x",
        '{"$gt": 0} x',
        "1e3 x",
        "99999999999999 x",
        "99999999999999999 x",
        "-1 x",
        "\u0661 x",
    ),
]


@pytest.mark.parametrize("cursor", CURSORS, ids=lambda text: ascii(text[:20]))
def test_a_cursor_that_was_tampered_with_is_a_place_in_the_list_or_none(staff, shop, cursor):
    encoded = urlsafe_b64encode(cursor.encode()).decode().rstrip("=")
    for path in ("/api/orders/", "/api/customers/cust-789/orders/"):
        response = staff.get(f"{path}?cursor={encoded}")
        assert response.status_code in (200, 400)
        if response.status_code == 200:
            assert {one["order_id"] for one in response.json()["results"]} <= {shop}


@pytest.mark.parametrize("cursor", [b"1 \xed\xa0\x80", b"1 \xff", b"\x00", b"1 \xf5\x80\x80\x80"])
def test_a_cursor_of_bytes_that_are_no_text_is_refused(staff, shop, cursor):
    encoded = urlsafe_b64encode(cursor).decode()

    assert_problem(staff.get(f"/api/orders/?cursor={encoded}"), 400)


def test_thousands_of_parameters_are_refused(staff, shop):
    for query in ("&".join(f"a{n}=1" for n in range(5000)), "customer_id=x&" * 5000):
        assert_problem(staff.get(f"/api/orders/?{query}"), 400)


HEADERS = [
    *("If-Match", "If-None-Match", "Idempotency-Key", "X-Correlation-ID", "traceparent"),
    *("tracestate", "Accept-Language", "Cookie", "Authorization", "X-Forwarded-For", "Referer"),
    *("X-HTTP-Method-Override", "Range", "X-Forwarded-Host", "X-CSRFToken", "User-Agent"),
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_is_taken_or_refused_and_never_stored(staff, mongo, header):
    for text in HEADER_TEXTS:
        mongo["orders"].delete_many({})
        order_id = staff.placed()
        for response in (
            staff.get(f"/api/orders/{order_id}/", headers={header: text}),
            staff.command(order_id, "items", **{header: text}),
            staff.place(**{header: text}),
        ):
            assert response.status_code in (200, 201, 304, 400, 401, 412), (text, response.content)
            assert "X-Evil" not in response.headers
        if header == "X-Correlation-ID" or len(text) < 4:
            continue  # tried below
        for stored in texts_in(contents(mongo)["orders"]):
            assert text not in stored, "neither whole nor in part"


def test_metadata_holds_ids_only_whatever_the_headers(staff, mongo):
    for text in HEADER_TEXTS:
        staff.place(traceparent=text, X_Correlation_ID=text, Idempotency_Key="ann@example.com")
    staff.place(X_Correlation_ID="Ann Smith <ann@example.com>")
    staff.place(traceparent="00-" + "g" * 32 + "-" + "1" * 16 + "-00")

    for document in mongo["orders"].find():
        for message in document["outbox"]["pending"]:
            metadata = message["metadata"]
            assert metadata.keys() == {"correlationId", "causationId", "traceparent"}
            for value in metadata.values():
                assert set(value) <= set(
                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-"
                ), value
                assert len(value) <= 128
            assert "ann" not in json.dumps(metadata).lower()


FIELDS = [
    *(("", field) for field in ORDER),
    *(("item", field) for field in ITEM),
    *((name, field) for name, body in BODIES.items() for field in body if name != "items"),
    ("stock", "on_hand"),
]


def sent(staff, order_id, where, body):
    if where == "stock":
        return staff.send("/api/stock/WIDGET-01/", body, method="PUT")
    if where in BODIES:
        return staff.command(order_id, where, json.dumps(body).encode())
    return staff.place(json.dumps(body).encode())


def body_of(where):
    if where == "stock":
        return {"on_hand": 5}
    return dict(BODIES[where]) if where in BODIES else json.loads(json.dumps(ORDER))


@pytest.mark.parametrize(("where", "field"), FIELDS)
def test_a_field_holds_what_it_may_hold_and_nothing_else_changes(staff, mongo, where, field):
    """What a text is allowed to be is stored as that text, and never as a name or an operator."""
    staff.set_stock("WIDGET-01", 5)
    other = staff.placed(customer_id="other")
    before = mongo["orders"].find_one({"_id": other})
    for value in VALUES:
        order_id = staff.placed()
        body = body_of(where)
        (body["items"][0] if where == "item" else body)[field] = value

        response = sent(staff, order_id, where, body)

        assert response.status_code in (200, 201, 400, 422), (value, response.content)
        if response.status_code < 400:
            shown = response.json()
            shown["reason"] = shown.get("cancel_reason")
            got = shown["items"][0][field] if where == "item" else shown[field]
            assert (type(got), got) == (type(value), value)
    assert mongo["orders"].find_one({"_id": other}) == before
    names = names_in(contents(mongo))
    assert not [name for name in names if "$" in name or "." in name or "\x00" in name]


@pytest.mark.parametrize("where", ["", "item", *BODIES, "stock"])
def test_a_name_that_is_not_the_bodys_is_refused(staff, shop, where):
    for name in [*TEXTS, "version", "outbox", "order_id", "status", "__class__"]:
        body = body_of(where)
        (body["items"][0] if where == "item" else body)[name] = 1

        assert_problem(sent(staff, shop, where, body), 400)


@pytest.mark.parametrize("sku", ["$where", "a.b", "a$b", "_id"])
def test_a_sku_is_never_the_name_of_a_field(staff, mongo, sku):
    """A stock's is its id, a line's is a value; `$` can't begin one."""
    allowed = sku[0].isalnum()
    stock = staff.set_stock(quote(sku, safe=""), 5)
    placed = staff.place(ORDER | {"items": [ITEM | {"sku": sku}]})

    assert stock.status_code == (201 if allowed else 404)
    assert placed.status_code == (201 if allowed else 400)
    assert sku not in names_in(contents(mongo)) - {"_id"}
