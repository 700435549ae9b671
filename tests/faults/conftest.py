"""What the fault tests have in common: servers that can be made to fail, children, an account."""

import time
from functools import partial
from urllib.parse import urlsplit

import pytest

from config import embedded
from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.relay import Relay
from tests.faults import checker
from tests.faults.children import Nursery
from tests.faults.length import PATIENCE
from tests.faults.proxy import Proxy
from tests.faults.servers import FailingMongoDB

TOPICS = ("notes", "notes-internal")


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory):
    """A server of these tests' own, whatever else the tests run on."""
    with FailingMongoDB(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture(scope="session")
def mongodb_uri(mongodb):
    return mongodb.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """The same for Redis: this one is filled up, demoted and killed."""
    with embedded.Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.OUTBOX_LEASE = 0.5
    settings.OUTBOX_BACKOFF, settings.OUTBOX_BACKOFF_MAX = 0.05, 0.1


@pytest.fixture(scope="session")
def _nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def nursery(_nursery):
    """Where children come from."""
    yield _nursery
    _nursery.end_last()


@pytest.fixture
def account(mongo, redis):
    """Sweeps until nothing is pending, or it doesn't get less; then says what is wrong."""
    return partial(_account, mongo, redis)


def _account(mongo, redis, *, within=PATIENCE, **more):
    relay, deadline = Relay("notes"), time.monotonic() + within
    while mongo["notes"].find_one({"outbox.pending.0": {"$exists": True}}):
        try:
            relay.sweep()
        except (BrokerUnavailable, StoreUnavailable):
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    documents = list(mongo["notes"].find())
    assert documents
    return checker.check(documents, checker.streams(redis, TOPICS), **more)


class FailPoint:
    """Has the server fail the outbox's commands of some names, until `stop`."""

    def __init__(self, server):
        self._server = server

    def __call__(self, *commands, times=None, **how):
        mode = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": commands, "appName": "outbox", **how}
        self._server.command("configureFailPoint", "failCommand", mode=mode, data=data)

    def stop(self):
        self._server.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def fail(mongodb):
    """The server's fail point."""
    point = FailPoint(mongodb)
    yield point
    point.stop()


def _proxy(server_url):
    """A fixture with a proxy before that server, for the whole run."""

    @pytest.fixture(scope="session")
    def proxy(request):
        with Proxy(urlsplit(request.getfixturevalue(server_url)).port) as proxy:
            yield proxy

    return proxy


_mongodb_proxy = _proxy("mongodb_uri")
_redis_proxy = _proxy("redis_url")


@pytest.fixture
def mongodb_proxy(_mongodb_proxy, mongo, settings):
    """The proxy that the outbox reaches MongoDB through; `mongo` is still the server itself."""
    # With `replicaSet=` the driver would go by the address that the set gives itself.
    settings.OUTBOX_MONGODB_URI = (
        f"mongodb://127.0.0.1:{_mongodb_proxy.port}/?directConnection=true"
    )
    yield _mongodb_proxy
    _mongodb_proxy.go_on()


@pytest.fixture
def redis_proxy(_redis_proxy, redis, settings):
    """The proxy that the outbox reaches Redis through; `redis` is still the server itself."""
    settings.OUTBOX_REDIS_URL = f"redis://127.0.0.1:{_redis_proxy.port}/0"
    yield _redis_proxy
    _redis_proxy.go_on()
