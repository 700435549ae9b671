"""Access: nobody without credentials, unless a setting opens a view."""

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from tests.integration.orders.client import BODIES, OrdersClient, assert_problem

pytestmark = pytest.mark.django_db

PATHS = [
    "/api/orders/",
    "/api/orders/x/",
    "/api/customers/x/orders/",
    "/api/stock/x/",
    "/api/schema/",
    "/api/docs/",
]


@pytest.fixture
def user():
    return User.objects.create_user("ann", password="secret")


@pytest.mark.parametrize("path", PATHS)
def test_nobody_reads_without_credentials(anonymous, path):
    response = anonymous.get(path, headers={"Accept": "*/*"})

    assert_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("name", BODIES)
def test_nobody_writes_without_credentials(anonymous, mongo, name):
    assert_problem(anonymous.command("x", name), 401)
    assert_problem(anonymous.place(), 401)
    assert mongo["orders"].count_documents({}) == 0


def test_a_wrong_token_is_refused(anonymous):
    assert_problem(anonymous.get("/api/orders/", headers={"Authorization": "Token wrong"}), 401)


def test_a_token_lets_in(anonymous, user):
    token = Token.objects.create(user=user)

    response = anonymous.get(
        "/api/customers/ann/orders/", headers={"Authorization": f"Token {token.key}"}
    )
    assert response.status_code == 200


def test_a_session_lets_in_with_its_csrf_token_only(mongo, user):
    client = OrdersClient(enforce_csrf_checks=True)
    client.force_login(user)

    assert client.get("/api/orders/").status_code == 200
    assert_problem(client.place(), 403)
    assert mongo["orders"].count_documents({}) == 0


def test_a_form_is_refused_though_the_csrf_check_wants_to_read_it(mongo, user):
    client = OrdersClient(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = "x" * 32
    form = b"a=" + b"x" * 2**21

    response = client.send("/api/orders/", form, content_type="application/x-www-form-urlencoded")

    assert_problem(response, 415)


def test_a_setting_opens_a_view_to_anyone(anonymous, settings):
    settings.ANONYMOUS_ACCESS = ["order-list"]

    assert anonymous.place(Idempotency_Key="k").status_code == 201
    assert anonymous.place(Idempotency_Key="k").status_code == 201
    assert len(anonymous.get("/api/orders/").json()["results"]) == 1
    assert_problem(anonymous.get("/api/orders/x/"), 401)


def test_without_the_setting_nothing_is_open(anonymous, settings):
    del settings.ANONYMOUS_ACCESS

    assert_problem(anonymous.get("/api/orders/"), 401)
