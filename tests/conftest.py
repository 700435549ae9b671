"""Real servers for the tests: one of each for the whole run, a database and a prefix a test."""

import uuid
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern, monitoring
from redis import Redis

from config import embedded
from tests.e2e.running import running, stack_running  # noqa: F401 - fixtures, for e2e and faults

#: Their tests start, stop and kill processes, and measure patience: never two of them at once.
WITH_PROCESSES = ("e2e", "faults")


def pytest_collection_modifyitems(config, items):
    """With pytest-xdist: one process runs these, and a file of the others is not divided."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        item.add_marker(
            pytest.mark.xdist_group("processes" if folder in WITH_PROCESSES else item.path.name)
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Half characters, which some tests log, can't be sent from one process to another."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


#: Commands after which a database may have other collections or indexes than before.
REBUILDING = {"create", "createIndexes", "dropIndexes", "collMod", "drop", "dropDatabase"}
REBUILDING |= {"renameCollection"}


class Commands(monitoring.CommandListener):
    """What every client of the test run has asked MongoDB for."""

    def __init__(self):
        self.events = []
        self.rebuilding = True

    def started(self, event):
        self.events.append(event)
        self.rebuilding |= event.command_name in REBUILDING

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


OWN = embedded.own_servers() or {}


def _session_server(bundled, own=None):
    """A fixture with a server's URL for the whole run: the environment's, or a bundled one's."""

    @pytest.fixture(scope="session")
    def url(tmp_path_factory):
        if own is not None:
            yield own
            return
        with bundled(tmp_path_factory.mktemp("server")) as server:
            yield server.url

    return url


mongodb_uri = _session_server(embedded.MongoDB, OWN.get("OUTBOX_MONGODB_URI"))
redis_url = _session_server(embedded.Redis, OWN.get("OUTBOX_REDIS_URL"))
valkey_url = _session_server(embedded.Valkey)


@pytest.fixture(scope="session", autouse=True)
def _own_redis_is_empty():
    """Every test empties the database that it uses, so it must not be anybody's."""
    if url := OWN.get("OUTBOX_REDIS_URL"):
        with Redis.from_url(url) as client:
            if client.dbsize():
                pytest.exit("The tests empty OUTBOX_REDIS_URL, which isn't empty: name another.")


@pytest.fixture(scope="module")
def _database(mongodb_uri):
    """The database of a file of tests, by name: making its indexes anew for each takes long."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with MongoClient(mongodb_uri) as client:
        client.drop_database(name)


@pytest.fixture
def mongo(_database, mongodb_uri, settings):
    """An empty database on the real server, with the project's indexes."""
    from outbox import connections
    from outbox.discovery import messaging, subscribers
    from outbox.indexes import ensure_indexes
    from tests import notes

    settings.OUTBOX_MONGODB_URI = mongodb_uri
    settings.OUTBOX_MONGODB_DATABASE = _database
    database = connections.database()
    made = _made.get(_database)
    if made is None:
        ensure_indexes([*messaging().repositories, notes.repository()], subscribers())
        made = _made[_database] = _indexes(database)
    _commands.rebuilding = False
    yield database
    if _commands.rebuilding and not _indexes(database).items() >= made.items():
        # The test has played with them.
        database.client.drop_database(database.name)
        del _made[_database]
        return
    for name in database.list_collection_names():
        if name in made:
            database.get_collection(name, write_concern=WriteConcern(1)).delete_many({})
        else:
            database.drop_collection(name)
    # This one waits until a majority has all of it: the relay reads what a majority has.
    database["outbox_leases"].delete_many({})


#: Of each test database, what it was like when it was new.
_made = {}


def _indexes(database):
    """Each collection's options and the names of its indexes."""
    return {
        one["name"]: (one["options"], sorted(database[one["name"]].index_information()))
        for one in database.list_collections()
    }


@pytest.fixture
def admin_log(db, django_user_model, monkeypatch):
    """The admin's log of what commands do: who, what and why. Its user runs them."""
    from django.contrib.admin.models import LogEntry

    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    django_user_model.objects.create_user("alice")

    def rows():
        found = LogEntry.objects.order_by("pk").select_related("user")
        return [
            (one.user.username, one.object_id or one.object_repr, one.change_message)
            for one in found
        ]

    return rows


@pytest.fixture
def redis(redis_url, settings):
    """The real Redis, emptied, as the broker."""
    yield from _broker(redis_url, settings)


@pytest.fixture
def valkey(valkey_url, settings):
    """The real Valkey, emptied, as the broker."""
    yield from _broker(valkey_url, settings)


def _broker(url, settings):
    from outbox import connections, relay

    relay._breaker.cache_clear()  # a test before may have left it open
    settings.OUTBOX_REDIS_URL = url
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    client = connections.redis_client()
    client.flushdb()
    yield client
    client.flushdb()
