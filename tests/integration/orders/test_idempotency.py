"""Idempotency-Key: the same key gives the same answer, and one effect."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.orders.client import BODIES, ITEM, ORDER, as_staff, assert_problem

SAME = ("ETag", "Location", "Content-Type")


def assert_same(first, second):
    assert second.status_code == first.status_code < 300
    assert second.content == first.content
    for name in SAME:
        assert second.headers.get(name) == first.headers.get(name)


def test_an_order_placed_again_is_the_same_order(api, mongo):
    first = api.place(Idempotency_Key="k-1")
    second = api.place(Idempotency_Key="k-1")

    assert_same(first, second)
    assert mongo["orders"].count_documents({}) == 1
    assert len(mongo["orders"].find_one()["outbox"]["pending"]) == 2


def test_the_answer_is_the_first_one_whatever_has_happened_since(api):
    first = api.place(Idempotency_Key="k-1")
    order_id = first.json()["order_id"]
    paid = api.command(order_id, "pay", Idempotency_Key="k-1")
    api.command(order_id, "cancel")

    assert_same(first, api.place(Idempotency_Key="k-1"))
    assert_same(paid, api.command(order_id, "pay", Idempotency_Key="k-1"))


@pytest.mark.parametrize("name", BODIES)
def test_a_command_sent_again_has_one_effect(api, mongo, name):
    order_id = api.placed()
    if name == "ship":
        api.command(order_id, "pay")

    first = api.command(order_id, name, Idempotency_Key="k-1")
    stored = mongo["orders"].find_one()

    assert_same(first, api.command(order_id, name, Idempotency_Key="k-1"))
    assert mongo["orders"].find_one() == stored


def test_a_repeat_is_answered_though_its_if_match_is_stale_by_now(api):
    order_id = api.placed()

    first = api.command(order_id, "items", If_Match='"1"', Idempotency_Key="k-1")
    second = api.command(order_id, "items", If_Match='"1"', Idempotency_Key="k-1")

    assert_same(first, second)


def test_the_same_body_in_other_words_is_the_same_request(api):
    first = api.place(ORDER | {"items": [ITEM | {"unit_price": "49.90"}]}, Idempotency_Key="k")
    body = b"""{"items": [{"quantity": 2, "unit_price": 49.9, "sku": "WIDGET-01"}],
                "currency": "\\u0055SD", "customer_id": "cust-789"}"""

    assert_same(first, api.place(body, Idempotency_Key="k"))


def test_a_key_that_was_used_for_another_order_is_refused(api, mongo):
    api.place(Idempotency_Key="k-1")
    stored = mongo["orders"].find_one()

    problem = assert_problem(api.place(ORDER | {"currency": "EUR"}, Idempotency_Key="k-1"), 422)

    assert problem["type"] == "urn:problem-type:message-id-reused"
    assert list(mongo["orders"].find()) == [stored]


def test_a_key_that_was_used_for_another_body_of_a_command_is_refused(api, mongo):
    order_id = api.placed()
    api.command(order_id, "items", Idempotency_Key="k-1")

    other = BODIES["items"] | {"quantity": 2}
    assert_problem(api.command(order_id, "items", other, Idempotency_Key="k-1"), 422)
    assert mongo["orders"].find_one()["version"] == 2


def test_a_key_belongs_to_its_user(api, other, mongo):
    api.place(Idempotency_Key="k-1")
    other.place(ORDER | {"currency": "EUR"}, Idempotency_Key="k-1")

    assert mongo["orders"].count_documents({}) == 2


def test_a_key_belongs_to_its_path(api):
    one, two = api.placed(), api.placed()

    for order_id in (one, two):
        assert api.command(order_id, "pay", Idempotency_Key="k").json()["version"] == 2
    assert api.command(one, "cancel", Idempotency_Key="k").json()["version"] == 3


def test_a_request_that_failed_may_be_sent_again_under_its_key(api):
    order_id = api.placed()
    assert_problem(api.command(order_id, "ship", Idempotency_Key="k"), 422)
    api.command(order_id, "pay")

    assert api.command(order_id, "ship", Idempotency_Key="k").json()["status"] == "shipped"


def test_without_a_key_every_request_is_a_new_one(api, mongo):
    api.place()
    api.place()

    assert mongo["orders"].count_documents({}) == 2


def test_repeats_that_come_at_once_have_one_effect(api, mongo):
    def place(_):
        return as_staff(1).place(Idempotency_Key="k-1")

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(place, range(16)))

    for response in responses:
        assert_same(responses[0], response)
    assert mongo["orders"].count_documents({}) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "é", "a\x7f"])
def test_a_malformed_key_is_refused(api, mongo, key):
    problem = assert_problem(api.place(Idempotency_Key=key), 400)

    assert [error["header"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert mongo["orders"].count_documents({}) == 0


def test_a_key_may_be_of_255_visible_characters(api):
    key = "".join(chr(0x21 + i % 94) for i in range(255))

    assert_same(api.place(Idempotency_Key=key), api.place(Idempotency_Key=key))
