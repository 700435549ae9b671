"""Clients of the HTTP API over a database of the test's own."""

import pytest

from tests.integration.orders.client import OrdersClient, as_user


@pytest.fixture
def anonymous(mongo):
    return OrdersClient()


@pytest.fixture
def api(mongo):
    return as_user(1)


@pytest.fixture
def other(mongo):
    """The client of another user."""
    return as_user(2)


@pytest.fixture
def staff(mongo):
    """The client of a user who is staff."""
    return as_user(3, is_staff=True)
