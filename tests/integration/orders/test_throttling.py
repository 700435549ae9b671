"""Throttling: users who write too often are told to wait; staff isn't, and reading is free."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache

from outbox.api.throttling import WriteThrottle
from tests.integration.orders.client import ORDER, as_user, assert_problem, throttled_to

OWN = ORDER | {"customer_id": "ann"}


@pytest.fixture(autouse=True)
def _three_a_minute(settings, _not_throttled):
    throttled_to(settings, "3/min")
    cache.clear()
    yield
    cache.clear()


def test_the_fourth_write_in_a_minute_has_to_wait(ann, mongo):
    for _ in range(3):
        assert ann.place(OWN).status_code == 201

    response = ann.place(OWN)

    assert_problem(response, 429)
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert mongo["orders"].count_documents({}) == 3


def test_what_fails_counts_too(ann):
    """Or ids and bodies could be tried out without end."""
    for response in (ann.place({}), ann.place(ORDER), ann.command("x", "pay")):
        assert 400 <= response.status_code < 429

    for response in (ann.place(OWN), ann.command("x", "pay"), ann.set_stock("A", 1)):
        assert response.status_code in (403, 429), "the stock is not a customer's anyway"
    assert_problem(ann.command("x", "pay"), 429)


def test_a_repeat_under_its_key_is_a_write_like_any_other(ann):
    for _ in range(3):
        assert ann.place(OWN, Idempotency_Key="k").status_code == 201

    assert_problem(ann.place(OWN, Idempotency_Key="k"), 429)


def test_each_user_has_a_count_of_their_own(ann, bob):
    for _ in range(4):
        ann.place(OWN)

    assert bob.place(ORDER | {"customer_id": "bob"}).status_code == 201


def test_staff_is_not_throttled(staff):
    assert {staff.place().status_code for _ in range(10)} == {201}


def test_reading_is_not_throttled(ann):
    for _ in range(10):
        assert ann.get("/api/orders/").status_code == 200
        assert ann.options("/api/orders/").status_code == 200
    assert ann.place(OWN).status_code == 201


def test_nobody_without_credentials_is_ever_told_to_wait(anonymous):
    for _ in range(10):
        assert_problem(anonymous.place(), 401)


def test_where_a_view_is_open_an_address_is_counted_and_not_what_it_claims_to_be(
    anonymous, settings
):
    settings.ANONYMOUS_ACCESS = ["order-list"]
    for number in range(3):
        assert anonymous.place(X_Forwarded_For=f"10.0.0.{number}").status_code == 201

    assert_problem(anonymous.place(X_Forwarded_For="10.0.0.9"), 429)


def test_without_a_rate_nobody_is_throttled(ann, settings):
    throttled_to(settings, None)

    assert {ann.place(OWN).status_code for _ in range(10)} == {201}


class SlowCache:
    """Gives other threads their turn between reading and writing."""

    def get(self, key, default):
        found = cache.get(key, default)
        time.sleep(0.005)
        return found

    set = staticmethod(cache.set)


def test_writes_that_come_at_once_are_counted_one_by_one(mongo, monkeypatch):
    monkeypatch.setattr(WriteThrottle, "cache", SlowCache())

    def write(_):
        return as_user(4, username="ann").command("x", "pay").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(write, range(40)))

    assert statuses == [404] * 3 + [429] * 37


def test_redis_being_away_changes_nothing(ann, settings):
    settings.OUTBOX_REDIS_URL = settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"

    assert [ann.place(OWN).status_code for _ in range(4)] == [201, 201, 201, 429]
