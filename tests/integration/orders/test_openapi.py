"""The OpenAPI schema: valid, complete, and true of what is answered."""

import json

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator, ValidationError

from tests.integration.orders.client import BODIES, ORDER
from tests.integration.orders.test_bad_input import ABSENT, VALUES, order_with


@pytest.fixture(scope="module")
def schema():
    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS, "no warnings"
    return json.loads(json.dumps(schema))


@pytest.fixture
def valid(schema):
    """Asserts that a value is as a component says."""

    def valid(name, value):
        reference = {"$ref": f"#/components/schemas/{name}", "components": schema["components"]}
        Draft202012Validator(reference).validate(value)

    return valid


def test_the_schema_is_valid_openapi_3_1(schema):
    assert schema["openapi"].startswith("3.1")
    validate_schema(schema)


def test_the_schema_has_every_operation(schema):
    assert {
        operation["operationId"]: (method, path)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    } == {
        "list_orders": ("get", "/api/orders/"),
        "place_order": ("post", "/api/orders/"),
        "get_order": ("get", "/api/orders/{order_id}/"),
        "add_item": ("post", "/api/orders/{order_id}/items/"),
        "pay_order": ("post", "/api/orders/{order_id}/pay/"),
        "ship_order": ("post", "/api/orders/{order_id}/ship/"),
        "cancel_order": ("post", "/api/orders/{order_id}/cancel/"),
        "list_customer_orders": ("get", "/api/customers/{customer_id}/orders/"),
        "get_stock": ("get", "/api/stock/{sku}/"),
        "set_stock": ("put", "/api/stock/{sku}/"),
        "get_outbox_overview": ("get", "/api/outbox/overview/"),
        "list_pending_messages": ("get", "/api/outbox/pending/"),
        "get_pending_message": ("get", "/api/outbox/pending/{id}/"),
        "retry_pending_messages": ("post", "/api/outbox/pending/retry/"),
        "discard_pending_messages": ("post", "/api/outbox/pending/discard/"),
        "list_dispatched_messages": ("get", "/api/outbox/dispatched/"),
        "get_dispatched_message": ("get", "/api/outbox/dispatched/{id}/"),
        "replay_dispatched_messages": ("post", "/api/outbox/dispatched/replay/"),
        "list_waiting_events": ("get", "/api/outbox/waiting/"),
        "list_dead_letters": ("get", "/api/outbox/dead-letters/"),
        "get_dead_letter": ("get", "/api/outbox/dead-letters/{id}/"),
        "replay_dead_letters": ("post", "/api/outbox/dead-letters/replay/"),
        "discard_dead_letters": ("post", "/api/outbox/dead-letters/discard/"),
    }


READ = "200 304 401 403 404 406 503"
COMMAND = "200 400 401 403 404 406 409 411 412 413 415 422 429 503"
LIST = "200 400 401 403 406 503"
OPERATION = "200 400 401 403 406 409 411 413 415 422 429 503"
FILTERS = "cursor limit search since topic type until"


@pytest.mark.parametrize(
    ("method", "path", "parameters", "statuses", "headers"),
    [
        ("get", "orders/", "cursor customer_id status", "200 400 401 403 406 503", ""),
        (
            "post",
            "orders/",
            "Idempotency-Key",
            "201 400 401 403 406 409 411 413 415 422 429 503",
            "ETag Location",
        ),
        ("get", "orders/{order_id}/", "If-None-Match order_id", READ, "ETag"),
        *(
            (
                "post",
                f"orders/{{order_id}}/{name}/",
                "Idempotency-Key If-Match order_id",
                COMMAND,
                "ETag",
            )
            for name in BODIES
        ),
        (
            "get",
            "customers/{customer_id}/orders/",
            "cursor customer_id",
            "200 400 401 403 404 406 503",
            "",
        ),
        ("get", "stock/{sku}/", "If-None-Match sku", READ, "ETag"),
        ("put", "stock/{sku}/", "Idempotency-Key If-Match sku", f"201 {COMMAND}", "ETag"),
        ("get", "outbox/overview/", "", "200 401 403 406 503", ""),
        ("get", "outbox/pending/", f"{FILTERS} state", LIST, ""),
        ("get", "outbox/dispatched/", FILTERS, LIST, ""),
        ("get", "outbox/waiting/", f"{FILTERS} state subscriber", LIST, ""),
        ("get", "outbox/dead-letters/", f"{FILTERS} error_type state subscriber", LIST, ""),
        *(
            ("get", f"outbox/{name}/{{id}}/", "id", "200 401 403 404 406 503", "")
            for name in ("pending", "dispatched", "dead-letters")
        ),
        *(
            ("post", f"outbox/{name}/", "Idempotency-Key", OPERATION, "")
            for name in (
                *("pending/retry", "pending/discard", "dispatched/replay"),
                *("dead-letters/replay", "dead-letters/discard"),
            )
        ),
    ],
)
def test_an_operation_names_its_headers_and_answers(
    schema, method, path, parameters, statuses, headers
):
    operation = schema["paths"][f"/api/{path}"][method]
    responses = operation["responses"]

    named = sorted(p["name"] for p in operation.get("parameters", []))
    assert named == sorted(parameters.split())
    assert sorted(responses) == sorted(statuses.split())
    assert operation.get("requestBody", {"required": True})["required"]
    success = responses[statuses[:3]]
    assert sorted(success.get("headers", {})) == sorted(headers.split())
    assert list(success["content"]) == ["application/json"]
    for status in statuses.split()[1:]:
        if status not in ("200", "304"):
            assert list(responses[status]["content"]) == ["application/problem+json"]
    assert list(responses["401"]["headers"]) == ["WWW-Authenticate"]
    for status in {"429", "503"} & responses.keys():
        assert list(responses[status]["headers"]) == ["Retry-After"]


def test_bodies_refuse_what_they_do_not_name(schema):
    schemas = schema["components"]["schemas"]
    bodies = [name for name in schemas if name.endswith("Body")]

    assert len(bodies) == 14
    assert all(schemas[name]["additionalProperties"] is False for name in bodies)


def test_what_is_sent_and_answered_is_as_the_schema_says(api, valid):
    valid("PlaceOrderBody", ORDER)
    order_id = api.placed()
    for name, component in [("items", "AddItemBody"), ("pay", "PayOrderBody")]:
        valid(component, BODIES[name])
        valid("Order", api.command(order_id, name).json())
    valid("Order", api.get(f"/api/orders/{order_id}/").json())
    valid("OrderPage", api.get("/api/orders/").json())
    for response in (
        api.place({}),
        api.get("/api/orders/?x=1"),
        api.get("/api/orders/x/"),
        api.command(order_id, "pay", If_Match="x"),
    ):
        valid("Problem", response.json())


def test_what_is_sent_and_answered_of_stock_is_as_the_schema_says(staff, valid):
    valid("SetStockBody", {"on_hand": 5})
    for _ in range(2):
        valid("Stock", staff.set_stock("WIDGET-01", 5).json())
    valid("Stock", staff.get("/api/stock/WIDGET-01/").json())


def test_setting_stock_is_described_alike_whether_it_creates_or_not(schema):
    responses = schema["paths"]["/api/stock/{sku}/"]["put"]["responses"]

    assert responses["201"]["content"] == responses["200"]["content"]
    assert responses["201"]["headers"] == responses["200"]["headers"]


def test_the_schema_refuses_what_the_api_refuses(valid):
    """So that a client, or a generator of requests, can know it before."""
    for field, values in VALUES.items():
        for value in [*values, ABSENT]:
            # Python's `$`, unlike ECMAScript's, lets a last newline pass; its validator can't
            # divide what no float holds.
            if not str(value).endswith("\n") and value != 10**400:
                with pytest.raises(ValidationError):
                    valid("PlaceOrderBody", json.loads(order_with(field, value)))


def test_an_answer_has_no_field_that_the_schema_lacks(api, schema):
    order = api.get(f"/api/orders/{api.placed()}/").json()
    schemas = schema["components"]["schemas"]

    assert list(order) == list(schemas["Order"]["properties"])
    assert list(order["items"][0]) == list(schemas["OrderItem"]["properties"])


def test_the_schema_and_its_page_are_served(api):
    assert api.get("/api/schema/").status_code == 200
    page = api.get("/api/docs/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert b"swagger-ui" in page.content
