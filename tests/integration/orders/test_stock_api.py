"""The stock over HTTP: who may see and set it, and what that answers."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.orders.client import as_staff, assert_problem

PATH = "/api/stock/WIDGET-01/"
STOCK = {"sku": "WIDGET-01", "on_hand": 5, "reserved": 0, "shipped": 0, "version": 1}


def test_stock_is_created_and_then_set(staff, mongo):
    created = staff.set_stock("WIDGET-01", 5)
    again = staff.set_stock("WIDGET-01", 0)

    assert (created.status_code, created.json()) == (201, STOCK)
    assert (again.status_code, again.json()) == (200, STOCK | {"on_hand": 0, "version": 2})
    assert [r.headers["ETag"] for r in (created, again)] == ['"1"', '"2"']
    document = mongo["stock"].find_one()
    assert document.pop("outbox")["pending"] == []
    counts = {"on_hand": 0, "reserved": 0, "shipped": 0}
    assert document == {"_id": "WIDGET-01", "version": 2} | counts


def test_setting_leaves_what_is_reserved_and_shipped(staff, mongo):
    staff.set_stock("WIDGET-01", 5)
    mongo["stock"].update_one({}, {"$set": {"reserved": 3, "shipped": 4}})

    assert staff.set_stock("WIDGET-01", 7).json() == STOCK | {
        "on_hand": 7, "reserved": 3, "shipped": 4, "version": 2
    }  # fmt: skip


def test_staff_sees_the_stock(staff):
    staff.set_stock("WIDGET-01", 5)

    response = staff.get(PATH)

    assert (response.status_code, response.json()) == (200, STOCK)
    assert response.headers["ETag"] == '"1"'
    for known, status in [('"1"', 304), ("*", 304), ('"2"', 200)]:
        again = staff.get(PATH, headers={"If-None-Match": known})
        assert (again.status_code, again.headers["ETag"]) == (status, '"1"')
        assert (again.content == b"") is (status == 304)


def test_only_staff_sees_and_sets_the_stock(ann, anonymous, mongo):
    for client, status in [(ann, 403), (anonymous, 401)]:
        assert_problem(client.set_stock("WIDGET-01", 5), status)
        assert_problem(client.get(PATH), status)
    assert mongo["stock"].count_documents({}) == 0


def test_a_setting_opens_the_stock_to_those_who_look_only(ann, anonymous, mongo, settings):
    settings.ANONYMOUS_ACCESS = ["stock-detail"]

    for client, status in [(ann, 403), (anonymous, 401)]:
        assert_problem(client.get(PATH), 404)
        assert_problem(client.set_stock("WIDGET-01", 5), status)
    assert mongo["stock"].count_documents({}) == 0


def test_a_product_without_stock_has_none(api):
    problem = assert_problem(api.get(PATH), 404)

    assert problem["detail"] == "There is no stock 'WIDGET-01'."


@pytest.mark.parametrize(
    "sku",
    ["%00", "%2e%2e", "%ff", "a%0A", "a%20b", "%F0%9F%A6%84", "$gt", "x" * 65, "%C3%A9", "a%2Fb"],
)
def test_what_cannot_be_a_sku_leads_nowhere(staff, mongo, sku):
    assert_problem(staff.get(f"/api/stock/{sku}/"), 404)
    assert_problem(staff.set_stock(sku, 1), 404)
    assert mongo["stock"].count_documents({}) == 0


@pytest.mark.parametrize("sku", ["A", "x" * 64, "a!b~c", "a%25", "a$b.c"])
def test_what_can_be_a_sku_can_have_stock(staff, sku):
    assert staff.set_stock(sku, 1).status_code == 201
    assert staff.get(f"/api/stock/{sku}/").status_code == 200


@pytest.mark.parametrize(
    "on_hand", [None, True, "1", -1, 1.5, 1_000_000_001, 10**30, 1e300, [], {"$inc": 1}]
)
def test_a_number_on_hand_that_is_none_is_pointed_at(staff, mongo, on_hand):
    problem = assert_problem(staff.set_stock("WIDGET-01", on_hand), 400)

    assert [error["pointer"] for error in problem["errors"]] == ["#/on_hand"]
    assert mongo["stock"].count_documents({}) == 0


@pytest.mark.parametrize("body", [{}, {"on_hand": 1, "reserved": 0}, b"[]", b"x"])
def test_a_body_of_something_else_is_refused(staff, mongo, body):
    assert_problem(staff.send(PATH, body, method="PUT"), 400)
    assert mongo["stock"].count_documents({}) == 0


@pytest.mark.parametrize("on_hand", [0, 1_000_000_000, 7.0])
def test_a_number_on_hand_may_be_any_whole_one_within_bounds(staff, on_hand):
    assert staff.set_stock("WIDGET-01", on_hand).json()["on_hand"] == int(on_hand)


@pytest.mark.parametrize("tag", ['"1"', "*"])
def test_stock_is_set_if_it_is_as_the_client_knows_it(staff, tag):
    staff.set_stock("WIDGET-01", 5)

    assert staff.set_stock("WIDGET-01", 6, If_Match=tag).status_code == 200


def test_stock_that_has_changed_since_is_not_set(staff, mongo):
    staff.set_stock("WIDGET-01", 5)
    staff.set_stock("WIDGET-01", 6)

    problem = assert_problem(staff.set_stock("WIDGET-01", 7, If_Match='"1"'), 412)

    assert problem["type"] == "urn:problem-type:stale-version"
    assert mongo["stock"].find_one()["on_hand"] == 6


@pytest.mark.parametrize("tag", ['"1"', '"0"', "*"])
def test_stock_that_has_to_be_there_is_not_created(staff, mongo, tag):
    assert_problem(staff.set_stock("WIDGET-01", 5, If_Match=tag), 412)
    assert mongo["stock"].count_documents({}) == 0


def test_stock_that_is_set_again_under_its_key_is_set_once(staff, mongo):
    first = staff.set_stock("WIDGET-01", 5, Idempotency_Key="k")
    staff.set_stock("WIDGET-01", 9)
    second = staff.set_stock("WIDGET-01", 5, Idempotency_Key="k")

    assert (second.status_code, second.content) == (201, first.content)
    assert mongo["stock"].find_one()["on_hand"] == 9
    assert_problem(staff.set_stock("WIDGET-01", 6, Idempotency_Key="k"), 422)


def test_of_those_who_set_it_first_one_creates_it_and_none_fails(staff, mongo):
    def set_stock(on_hand):
        return as_staff(3).set_stock("WIDGET-01", on_hand).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(set_stock, range(4)))

    assert statuses == [200, 200, 200, 201]
    assert mongo["stock"].find_one()["version"] == 4


@pytest.mark.parametrize("method", ["post", "delete", "patch"])
def test_stock_is_got_and_put_only(staff, method):
    response = getattr(staff, method)(PATH)

    assert_problem(response, 405)
    assert response.headers["Allow"] == "GET, PUT, HEAD, OPTIONS"
