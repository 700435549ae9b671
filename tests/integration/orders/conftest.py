"""Clients of the HTTP API over a database of the test's own."""

import pytest

from tests.integration.orders.client import OrdersClient, as_staff, as_user, throttled_to


@pytest.fixture(autouse=True)
def _not_throttled(settings):
    """What customers write in one test is not for another to wait for."""
    throttled_to(settings, None)


@pytest.fixture
def anonymous(mongo):
    return OrdersClient()


@pytest.fixture
def api(mongo):
    """A client that may act for all customers: staff's."""
    return as_staff(1)


@pytest.fixture
def other(mongo):
    """The client of another user of that kind."""
    return as_staff(2)


@pytest.fixture
def staff(mongo):
    return as_staff(3)


@pytest.fixture
def ann(mongo):
    """The client of a customer."""
    return as_user(4, username="ann")


@pytest.fixture
def bob(mongo):
    """The client of another customer."""
    return as_user(5, username="bob")
