"""Endpoints: for each, and each of its methods, somebody has decided who may use it.

Who adds a route adds a row here.
"""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLResolver

from config import urls
from outbox.api.error_views import not_found
from tests.integration.orders.client import BODIES, ORDER, OrdersClient

pytestmark = pytest.mark.django_db

#: What a method that a route doesn't have is answered with, by whom the route is for.
FOR_ALL_USERS = {"other": (401, 405, 405, 405)}
FOR_ITS_CUSTOMER = {"other": (401, 404, 405, 405)}
FOR_STAFF = {"other": (401, 403, 403, 405)}

#: For each route and each of its methods, what is answered to: nobody, another customer, the
#: customer whose it is, staff.
DECIDED = {
    "order-list": FOR_ALL_USERS | {"GET": (401, 200, 200, 200), "POST": (401, 403, 201, 201)},
    "order-detail": FOR_ITS_CUSTOMER | {"GET": (401, 404, 200, 200)},
    "order-items": FOR_ITS_CUSTOMER | {"POST": (401, 404, 200, 200)},
    "order-pay": FOR_ITS_CUSTOMER | {"POST": (401, 404, 200, 200)},
    "order-ship": FOR_ITS_CUSTOMER | {"POST": (401, 404, 422, 422)},
    "order-cancel": FOR_ITS_CUSTOMER | {"POST": (401, 404, 200, 200)},
    "customer-order-list": FOR_ITS_CUSTOMER | {"GET": (401, 404, 200, 200)},
    "stock-detail": FOR_STAFF | {"GET": (401, 403, 403, 404), "PUT": (401, 403, 403, 201)},
    # The outbox: staff needs a permission of its own for each of the operations, which it hasn't.
    "outbox-overview": FOR_STAFF | {"GET": (401, 403, 403, 200)},
    "outbox-pending-list": FOR_STAFF | {"GET": (401, 403, 403, 200)},
    "outbox-pending-detail": FOR_STAFF | {"GET": (401, 403, 403, 404)},
    "outbox-pending-retry": FOR_STAFF | {"POST": (401, 403, 403, 403)},
    "outbox-pending-discard": FOR_STAFF | {"POST": (401, 403, 403, 403)},
    "outbox-dispatched-list": FOR_STAFF | {"GET": (401, 403, 403, 200)},
    "outbox-dispatched-detail": FOR_STAFF | {"GET": (401, 403, 403, 404)},
    "outbox-dispatched-replay": FOR_STAFF | {"POST": (401, 403, 403, 403)},
    "outbox-waiting-list": FOR_STAFF | {"GET": (401, 403, 403, 200)},
    "outbox-dead-letter-list": FOR_STAFF | {"GET": (401, 403, 403, 200)},
    "outbox-dead-letter-detail": FOR_STAFF | {"GET": (401, 403, 403, 404)},
    "outbox-dead-letter-replay": FOR_STAFF | {"POST": (401, 403, 403, 403)},
    "outbox-dead-letter-discard": FOR_STAFF | {"POST": (401, 403, 403, 403)},
    "schema": FOR_ALL_USERS | {"GET": (401, 200, 200, 200)},
    "docs": FOR_ALL_USERS | {"GET": (401, 200, 200, 200), "OPTIONS": (401, 405, 405, 405)},
}
BODY_OF = {f"order-{name}": body for name, body in BODIES.items()} | {
    "order-list": ORDER | {"customer_id": "ann"},
    "stock-detail": {"on_hand": 1},
}
#: What probes and Prometheus ask for; REST framework has no part in it. For each route, what is
#: answered to who reads: nobody, a customer, staff; whoever may read is told 405 of all else.
DECIDED_FOR_MACHINES = {
    "health-live": (200, 200, 200),
    "health-ready": (200, 200, 200),
    "health-outbox": (200, 200, 200),
    "metrics": (401, 403, 200),
}
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"]


def routes(patterns=urls.urlpatterns, namespace="", prefix=""):
    """The name, path and view of every URL pattern, however deep."""
    for one in patterns:
        path = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            inside = f"{namespace}{one.namespace}:" if one.namespace else namespace
            yield from routes(one.url_patterns, inside, path)
        else:
            yield f"{namespace}{one.name}", path, one.callback


ADMIN = {path: name for name, path, _ in routes() if path.startswith("admin/")}
ALL = {name: path for name, path, view in routes() if path not in ADMIN and view is not not_found}
API = {name: path for name, path in ALL.items() if path.startswith("api/")}
MACHINES = {name: path for name, path in ALL.items() if name not in API}


def path_to(name, **values):
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found[1]], API[name])


def test_every_route_has_been_decided_on():
    assert API.keys() == DECIDED.keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DECIDED)
def test_everybody_may_do_what_was_decided_and_nothing_else(
    anonymous, ann, bob, staff, mongo, name, method
):
    for client, whose in zip((anonymous, bob, ann, staff), range(4), strict=True):
        order_id = ann.placed(customer_id="ann")
        path = path_to(name, order_id=order_id, customer_id="ann", sku="WIDGET-01", id="x")
        before = contents(mongo)

        response = client.send(path, BODY_OF.get(name, {}), method=method)

        decided = DECIDED[name].get("GET" if method == "HEAD" else method)
        expected = (decided or DECIDED[name]["other"])[whose]
        if (method, decided, expected) == ("OPTIONS", None, 405):
            expected = 200  # REST framework's own
        assert response.status_code == expected, (whose, response.content)
        if expected >= 400 or method in ("GET", "HEAD", "OPTIONS"):
            assert contents(mongo) == before, whose


def contents(mongo):
    """All but what this process's telemetry writes at times of its own."""
    names = set(mongo.list_collection_names()) - {"outbox_processes", "outbox_statistics"}
    return {name: list(mongo[name].find().sort("_id")) for name in names}


def test_every_route_for_machines_has_been_decided_on():
    assert MACHINES.keys() == DECIDED_FOR_MACHINES.keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DECIDED_FOR_MACHINES)
def test_machines_may_read_what_was_decided_and_do_nothing(mongo, redis, name, method):
    users = [None, User.objects.create_user("ann"), User.objects.create_user("s", is_staff=True)]
    for user, decided in zip(users, DECIDED_FOR_MACHINES[name], strict=True):
        client = Client()
        if user:
            client.force_login(user)
        before = contents(mongo)
        response = client.generic(method, f"/{MACHINES[name]}")
        expected = 405 if decided == 200 and method not in ("GET", "HEAD") else decided
        assert response.status_code == expected, user
        assert contents(mongo) == before


@pytest.mark.parametrize("path", ADMIN)
def test_the_admin_is_for_staff_only(path):
    url = "/" + re.sub(r"<[^>]+>|\(\?P<\w+>[^)]*\)|[\^$]|\\Z", "1", path).replace(".*", "")
    customer = Client()
    customer.force_login(User.objects.create_user("ann"))

    for client in (Client(), customer):
        for method in ("get", "post"):
            response = getattr(client, method)(url)
            if path == "admin/login/":
                assert response.status_code == 200
                assert b"password" in response.content
            elif path == "admin/logout/":
                assert response.status_code in (302, 405)
            else:
                assert (response.status_code, response.url.partition("?")[0]) == (
                    302,
                    "/admin/login/",
                ), url


def test_below_the_api_there_is_nothing_else():
    for path in ("/api/", "/api/outbox/", "/api/users/", "/api/orders/x/y/"):
        assert OrdersClient().get(path).status_code in (401, 404)
