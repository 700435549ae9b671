"""Real servers for the tests: one of each for the whole run, a database and a prefix a test."""

import os
import uuid

import pytest
from pymongo import monitoring


class Commands(monitoring.CommandListener):
    """What every client of the test run has asked MongoDB for."""

    def __init__(self):
        self.events = []

    def started(self, event):
        self.events.append(event)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def clear(self):
        self.events.clear()

    def on(self, *collections):
        """The (command, collection) pairs that concern these collections, in order."""
        pairs = [(e.command_name, e.command.get(e.command_name)) for e in self.events]
        return [pair for pair in pairs if pair[1] in collections]


_commands = Commands()
monitoring.register(_commands)


@pytest.fixture
def commands():
    """The commands that MongoDB is sent in this test."""
    _commands.clear()
    return _commands


def _session_server(variable, start):
    """A fixture with the URL of a server: the environment's, or a bundled one for this run."""

    @pytest.fixture(scope="session")
    def url(tmp_path_factory):
        if given := os.environ.get(variable):
            yield given
            return
        from config import embedded

        server = getattr(embedded, start)(tmp_path_factory.mktemp("server"))
        try:
            yield server.url
        finally:
            server.stop()

    return url


mongodb_uri = _session_server("OUTBOX_MONGODB_URI", "start_mongod")
redis_url = _session_server("OUTBOX_REDIS_URL", "start_redis")
valkey_url = _session_server("OUTBOX_TEST_VALKEY_URL", "start_valkey")


@pytest.fixture
def mongo(mongodb_uri, settings):
    """A database of its own on the real server, with the project's indexes."""
    from outbox import connections
    from outbox.discovery import messaging
    from outbox.indexes import ensure_indexes
    from tests import notes

    settings.OUTBOX_MONGODB_URI = mongodb_uri
    settings.OUTBOX_MONGODB_DATABASE = f"test_{uuid.uuid4().hex[:12]}"
    ensure_indexes([*messaging().repositories, notes.repository()])
    database = connections.database()
    yield database
    database.client.drop_database(database.name)


@pytest.fixture
def redis(redis_url, settings):
    """The real Redis, emptied, as the broker."""
    yield from _broker(redis_url, settings)


@pytest.fixture
def valkey(valkey_url, settings):
    """The real Valkey, emptied, as the broker."""
    yield from _broker(valkey_url, settings)


def _broker(url, settings):
    from outbox import connections

    settings.OUTBOX_REDIS_URL = url
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    client = connections.redis_client()
    client.flushdb()
    yield client
    client.flushdb()
