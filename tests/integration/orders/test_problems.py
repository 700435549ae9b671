"""Problems: every error below /api/ is one, whoever raises it."""

import json
from types import SimpleNamespace

import pytest
from django.core.exceptions import BadRequest
from django.test import Client, RequestFactory

from config.urls import handler500
from orders import queries
from outbox.errors import StoreUnavailable
from tests.integration.orders.client import ORDER, assert_problem


@pytest.mark.parametrize("path", ["", "nope", "nope/", "orders", "orders/x", "orders/x/y/", "%0A"])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_route_is_not_found(settings, path, method, debug):
    settings.DEBUG = debug
    client = Client(enforce_csrf_checks=True)

    problem = assert_problem(getattr(client, method)(f"/api/{path}"), 404)

    assert problem["type"] == "about:blank"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("delete", "/api/orders/", "GET, POST, HEAD, OPTIONS"),
        ("put", "/api/orders/x/", "GET, HEAD, OPTIONS"),
        ("get", "/api/orders/x/pay/", "POST, OPTIONS"),
        ("post", "/api/schema/", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_a_route_does_not_have_is_refused(api, method, path, allowed):
    response = getattr(api, method)(path)

    assert_problem(response, 405)
    assert response.headers["Allow"] == allowed


def test_only_json_can_be_had(api, mongo):
    assert_problem(api.get("/api/orders/", headers={"Accept": "text/html"}), 406)
    assert_problem(api.place(ORDER, Accept="application/xml"), 406)
    assert mongo["orders"].count_documents({}) == 0


def test_a_host_that_is_not_ours_is_a_bad_request(api):
    assert_problem(api.get("/api/orders/", headers={"Host": "evil.example"}), 400)


def test_what_nobody_expected_is_a_problem_without_details(api, monkeypatch):
    def fail(*args):
        raise RuntimeError("the password is secret")

    monkeypatch.setattr(queries, "get_order", fail)
    api.raise_request_exception = False

    response = api.get("/api/orders/x/")

    assert_problem(response, 500)
    assert b"secret" not in response.content


def test_outside_the_api_errors_are_djangos_own(api):
    assert api.get("/nope").headers["Content-Type"].startswith("text/html")
    response = api.get("/", headers={"Host": "evil.example"})
    assert (response.status_code, response.headers["Content-Type"][:9]) == (400, "text/html")
    response = handler500(RequestFactory().get("/admin/"))
    assert (response.status_code, response.headers["Content-Type"][:9]) == (500, "text/html")


def test_a_bad_request_that_django_finds_is_a_problem(api, monkeypatch):
    def fail(*args):
        raise BadRequest("what")

    monkeypatch.setattr(queries, "get_order", fail)

    assert_problem(api.get("/api/orders/x/"), 400)


@pytest.fixture
def store_away(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2


@pytest.mark.parametrize("path", ["/api/orders/", "/api/orders/x/"])
def test_reading_from_a_store_that_is_away_says_when_to_ask_again(api, store_away, path):
    response = api.get(path)

    problem = assert_problem(response, 503)
    assert response.headers["Retry-After"] == "5"
    assert problem["type"] == "urn:problem-type:store-unavailable"
    assert "127.0.0.1" not in json.dumps(problem), "where the store is, is nobody's business"


def test_writing_to_a_store_that_is_away_says_when_to_ask_again(api, store_away):
    for response in (api.place(), api.command("x", "pay")):
        assert_problem(response, 503)
        assert response.headers["Retry-After"] == "5"


def test_a_catalogue_that_is_away_leaves_the_order_unshipped(api, mongo, monkeypatch):
    order_id = api.placed()
    api.command(order_id, "pay")

    def away():
        raise StoreUnavailable()

    monkeypatch.setattr("orders.catalogue.connections", SimpleNamespace(store_errors=away))

    assert_problem(api.command(order_id, "ship"), 503)
    document = mongo["orders"].find_one()
    assert (document["status"], document["version"]) == ("paid", 2)
