"""Two customers: neither sees, changes or can tell that there is anything of the other's."""

from uuid import uuid4

import pytest

from tests.integration.orders.client import BODIES, ITEM, ORDER, as_user, assert_problem
from tests.integration.orders.test_endpoints import API, contents, path_to
from tests.unit.orders.process import deliver_all

OF_AN_ORDER = [name for name in API if "<str:order_id>" in API[name]]
BODY = {f"order-{name}": body for name, body in BODIES.items()}


def place(client, customer_id, **headers):
    response = client.place(ORDER | {"customer_id": customer_id}, **headers)
    assert response.status_code == 201, response.content
    return response.json()["order_id"]


def seen(client, path):
    return [one["order_id"] for one in client.get(path).json()["results"]]


REQUESTS = {
    "as it should be": {},
    "a stale version": {"If_Match": '"7"'},
    "the version that there is": {"If_Match": '"1"'},
    "a malformed version": {"If_Match": "1"},
    "any version": {"If_Match": "*"},
    "a version that is known": {"If_None_Match": '"1"'},
    "any version that is known": {"If_None_Match": "*"},
    "a key that its owner has used": {"Idempotency_Key": "ann-1"},
    "a key of one's own": {"Idempotency_Key": "bob-1"},
    "a malformed key": {"Idempotency_Key": "a b"},
    "in chunks": {"Transfer_Encoding": "chunked"},
    "not as JSON": {"content_type": "text/plain"},
    "not for JSON": {"Accept": "text/html"},
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", OF_AN_ORDER)
def test_another_customers_order_is_answered_like_one_that_does_not_exist(
    ann, bob, mongo, name, method
):
    """In every byte but for the id itself; and it stays as it is."""
    place(bob, "bob", Idempotency_Key="bob-1")
    order_id = place(ann, "ann", Idempotency_Key="ann-1")
    assert ann.command(order_id, "pay", Idempotency_Key="ann-1").status_code == 200
    before, nothing = contents(mongo), str(uuid4())

    for what, headers in REQUESTS.items():
        for body in (BODY.get(name, {}), {"x": 1}, b"", b"{", b"x" * 2**20 + b"x"):
            theirs, none = [
                bob.send(
                    path_to(name, order_id=one),
                    body,
                    method=method,
                    **{"X_Correlation_ID": "c"} | headers,
                )
                for one in (order_id, nothing)
            ]
            assert theirs.status_code == (406 if "Accept" in headers else 404), (what, body)
            assert theirs.content == none.content.replace(nothing.encode(), order_id.encode())
            assert theirs.headers.items() == none.headers.items(), (what, body)
    assert contents(mongo) == before


def test_an_order_that_is_ones_own_is_seen_and_changed(ann):
    order_id = place(ann, "ann")

    assert ann.get(f"/api/orders/{order_id}/").status_code == 200
    for version, name in enumerate(("items", "pay", "ship"), start=2):
        assert ann.command(order_id, name).headers["ETag"] == f'"{version}"'


def test_staff_sees_and_changes_everybodys_orders(ann, bob, staff):
    orders = [place(ann, "ann"), place(bob, "bob"), place(staff, "carl")]

    assert seen(staff, "/api/orders/") == orders[::-1]
    for order_id in orders:
        assert staff.get(f"/api/orders/{order_id}/").status_code == 200
        assert staff.command(order_id, "cancel").status_code == 200


def test_a_list_is_of_ones_own_orders(ann, bob):
    mine, theirs = place(ann, "ann"), place(bob, "bob")

    assert seen(ann, "/api/orders/") == seen(ann, "/api/orders/?customer_id=ann") == [mine]
    assert seen(ann, "/api/orders/?status=placed") == [mine]
    assert seen(bob, "/api/orders/") == [theirs]
    for query in ("customer_id=bob", "customer_id=ann&customer_id=bob", "customer_id=nobody"):
        response = ann.get(f"/api/orders/?{query}")
        assert response.json() == {"results": [], "next": None}, query


def test_a_customers_list_is_found_by_that_customer(ann, bob):
    mine, _ = place(ann, "ann"), place(bob, "bob")
    deliver_all("orders")

    assert seen(ann, "/api/customers/ann/orders/") == [mine]
    theirs, nobodys = [ann.get(f"/api/customers/{one}/orders/") for one in ("bob", "bo6")]
    assert_problem(theirs, 404)
    assert theirs.content == nobodys.content.replace(b"bo6", b"bob")
    for query in ("cursor=x", "x=1"):
        assert_problem(ann.get(f"/api/customers/bob/orders/?{query}"), 404)


def test_a_cursor_of_others_leads_to_nothing_of_theirs(ann, bob, staff, monkeypatch):
    monkeypatch.setattr("orders.paging.PAGE", 1)
    mine = place(ann, "ann")
    for _ in range(3):
        place(bob, "bob")
    deliver_all("orders")

    for path in ("/api/orders/", "/api/customers/{}/orders/"):
        cursor = bob.get(path.format("bob")).json()["next"]
        assert seen(ann, f"{path.format('ann')}?cursor={cursor}") == [mine]
    cursor = staff.get("/api/orders/").json()["next"]
    assert seen(ann, f"/api/orders/?cursor={cursor}") == [mine]


def test_an_order_for_another_customer_is_refused(ann, mongo):
    problem = assert_problem(ann.place(ORDER | {"customer_id": "bob"}), 403)

    assert problem["detail"] == "Orders can be placed for oneself only."
    for customer_id in ("bob", "Ann", "ann.", "ann~"):
        assert_problem(ann.place(ORDER | {"customer_id": customer_id}, Idempotency_Key="k"), 403)
    assert mongo["orders"].count_documents({}) == 0


def test_the_key_of_another_customer_is_a_key_like_any_other(ann, bob, mongo):
    place(ann, "ann", Idempotency_Key="k")

    response = bob.place(ORDER | {"customer_id": "bob"}, Idempotency_Key="k")

    assert (response.status_code, response.json()["customer_id"]) == (201, "bob")
    assert mongo["orders"].count_documents({}) == 2


def test_who_was_staff_gets_no_answer_again_about_what_is_not_theirs(mongo):
    """Not even to the repeat of a request that was theirs to make."""
    was, now = as_user(7, username="carl", is_staff=True), as_user(7, username="carl")
    order_id = place(was, "ann", Idempotency_Key="k")
    was.command(order_id, "pay", Idempotency_Key="k")
    before = contents(mongo)

    assert_problem(now.place(ORDER | {"customer_id": "ann"}, Idempotency_Key="k"), 403)
    assert_problem(now.command(order_id, "pay", Idempotency_Key="k"), 404)
    assert_problem(
        now.command(order_id, "pay", {"payment_reference": "x"}, Idempotency_Key="k"), 404
    )
    assert contents(mongo) == before


def test_a_setting_names_the_users_customer_id(ann, settings):
    class Profile:
        customer_id = "cust-1"

    client = as_user(6, username="ann")
    client.handler._force_user.profile = Profile()
    settings.ORDERS_CUSTOMER_ID_ATTRIBUTE = "profile.customer_id"
    order_id = place(client, "cust-1")

    assert seen(client, "/api/orders/") == [order_id]
    assert seen(client, "/api/customers/cust-1/orders/") == []
    assert_problem(client.place(ORDER | {"customer_id": "ann"}), 403)
    assert seen(ann, "/api/orders/") == []


@pytest.mark.parametrize("path", ["email", "profile.customer_id", "last_login", ""])
def test_who_is_no_customer_owns_nothing(staff, mongo, settings, path):
    settings.ORDERS_CUSTOMER_ID_ATTRIBUTE = path
    order_id = staff.placed()
    client = as_user(8)

    assert seen(client, "/api/orders/") == []
    assert_problem(client.get(f"/api/orders/{order_id}/"), 404)
    assert_problem(client.command(order_id, "pay"), 404)
    assert_problem(client.place(ORDER), 403)
    assert_problem(client.place(ORDER | {"customer_id": ""}), 400)
    assert_problem(client.get("/api/customers/None/orders/"), 404)
    assert mongo["orders"].count_documents({}) == 1


def test_an_opened_view_is_open_to_customers_like_to_anyone(ann, anonymous, staff, settings):
    settings.ANONYMOUS_ACCESS = ["order-list", "order-items"]
    order_id = staff.placed()

    for client in (ann, anonymous):
        assert seen(client, "/api/orders/") == [order_id]
        assert client.command(order_id, "items", ITEM).status_code == 200
    assert_problem(ann.get(f"/api/orders/{order_id}/"), 404)
    assert_problem(anonymous.get(f"/api/orders/{order_id}/"), 401)
