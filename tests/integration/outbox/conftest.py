"""What several of these tests stand on: a store of each kind, and a relay without a broker."""

import uuid

import pytest

from outbox import bounded, connections
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay


@pytest.fixture(params=["mongod", "mongomock"])
def database(request, settings):
    """The real server's, and an in-process one."""
    if request.param == "mongod":
        return request.getfixturevalue("mongo")
    settings.OUTBOX_MONGODB_DATABASE = f"unit_{uuid.uuid4().hex}"
    return connections.database()


@pytest.fixture
def publisher():
    return InMemoryPublisher()


@pytest.fixture
def relay(publisher):
    """Of the collection of notes."""
    return Relay("notes", publisher=publisher)


@pytest.fixture(autouse=True)
def _not_asked_before():
    """A question that another test has left unanswered, about servers of its own, isn't joined."""
    bounded._asking.cache_clear()
