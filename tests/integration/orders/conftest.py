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
