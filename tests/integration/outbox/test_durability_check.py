"""What `check --deploy` says of real servers, configured in every way."""

import io
import socket
import threading
import time

import pytest
from django.core.checks.registry import registry
from django.core.management import call_command
from redis import Redis

from config import embedded
from outbox.checks import check_settings
from outbox.durability_check import check_durability

SAFE = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


@pytest.fixture(scope="module")
def _redis(tmp_path_factory):
    with embedded.Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def _valkey(tmp_path_factory):
    with embedded.Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(params=["_redis", "_valkey"])
def server(request, settings):
    yield from _configured(request.getfixturevalue(request.param), settings)


@pytest.fixture
def redis_6(_redis, settings):
    yield from _configured(_redis, settings)


@pytest.fixture
def valkey_9(_valkey, settings):
    yield from _configured(_valkey, settings)


def _configured(url, settings):
    settings.OUTBOX_REDIS_URL = url
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    with Redis.from_url(url) as client:
        configure(client, {"min-replicas-to-write": 0})
        yield client


def configure(client, changes):
    for name, value in (SAFE | changes).items():
        client.config_set(name, value)


def said(server, settings=None, wanted=None, **changes):
    configure(server, {name.replace("_", "-"): value for name, value in changes.items()})
    if wanted:
        settings.OUTBOX_REDIS_DURABILITY = wanted
    return {message.id: message.msg for message in check_durability()}


def test_a_server_that_loses_nothing_is_clean(server):
    assert said(server) == {}


@pytest.mark.parametrize(
    ("changes", "id", "text"),
    [
        ({"appendonly": "no"}, "outbox.E006", "Redis keeps nothing: a crash or a restart loses"),
        ({"appendonly": "no", "save": "3600 1"}, "outbox.W005", "since the last one"),
        ({"appendfsync": "everysec"}, "outbox.W006", "about the last second or two"),
        ({"appendfsync": "no"}, "outbox.W007", "a crash of Redis loses nothing"),
        ({"maxmemory_policy": "allkeys-lru"}, "outbox.E007", "deletes whole streams"),
    ],
)
def test_what_a_crash_would_lose_is_said_plainly(server, changes, id, text):
    [(found, message)] = said(server, **changes).items()
    assert found == id
    assert text in message


@pytest.mark.parametrize("policy", ["volatile-lru", "noeviction"])
def test_what_deletes_no_streams_is_fine(server, policy):
    assert said(server, maxmemory_policy=policy) == {}


def test_a_server_without_waitaof_is_an_error_if_it_is_asked_for(redis_6, settings):
    [text] = said(redis_6, settings, {"aof": 1}).values()
    assert text == (
        "With OUTBOX_REDIS_DURABILITY = {'aof': 1} nothing is published: this server has no "
        "WAITAOF: use Redis 7.2 or later or Valkey."
    )


@pytest.mark.parametrize(
    ("wanted", "changes", "ids"),
    [
        ({"aof": 1}, {}, []),
        ({"aof": 1}, {"appendfsync": "everysec"}, ["outbox.W006", "outbox.W008"]),
        ({"aof": 1}, {"appendfsync": "no"}, ["outbox.E008", "outbox.W007"]),
        ({"aof": 1}, {"appendonly": "no"}, ["outbox.E006", "outbox.E008"]),
        ({"aof": 2}, {"min_replicas_to_write": 1}, ["outbox.E008"]),
        ({"replicas": 1}, {"min_replicas_to_write": 1}, ["outbox.E008"]),
        ({"replicas": 1}, {}, ["outbox.E008", "outbox.W009"]),
    ],
)
def test_what_is_asked_for_and_not_done_is_an_error(valkey_9, settings, wanted, changes, ids):
    assert sorted(said(valkey_9, settings, wanted, **changes)) == ids


def test_a_server_that_hides_its_configuration_says_what_could_not_be_seen(server, settings):
    server.acl_setuser(
        "hosted", enabled=True, nopass=True, keys="*", categories=["+@all"], commands=["-config"]
    )
    settings.OUTBOX_REDIS_URL = settings.OUTBOX_REDIS_URL.replace("//", "//hosted:any@")
    try:
        [(id, text)] = said(server).items()
        assert id == "outbox.W004"
        assert "doesn't let the outbox see when it is written" in text
        [(id, text)] = said(server, appendonly="no").items()
        assert id == "outbox.W005"
        assert "doesn't let the outbox see whether it makes any" in text
        server.acl_setuser("hosted", commands=["-info"])
        [(id, text)] = said(server).items()
        assert id == "outbox.W004"
        assert "doesn't tell what it keeps (INFO)" in text
    finally:
        server.acl_deluser("hosted")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "not an address"])
def test_a_server_that_is_away_is_a_warning(settings, url):
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    settings.OUTBOX_REDIS_URL = url
    [message] = check_durability()
    assert message.id == "outbox.W004"
    assert message.msg.startswith("Redis couldn't be asked: ")


def test_a_server_that_never_answers_is_a_warning_soon(settings):
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    settings.OUTBOX_REDIS_TIMEOUT = 60.0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.OUTBOX_REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        held = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        began = time.monotonic()
        [message] = check_durability()
        assert time.monotonic() - began < 10
        for connection, _ in held:
            connection.close()
    assert message.id == "outbox.W004"


@pytest.mark.parametrize(
    "publisher", ["outbox.publishers.memory.InMemoryPublisher", "no.such.thing"]
)
def test_another_publisher_is_not_asked_about(settings, publisher):
    settings.OUTBOX_PUBLISHER = publisher
    assert check_durability() == []


@pytest.mark.django_db
def test_it_is_asked_only_for_deployment(valkey_9):
    configure(valkey_9, {"appendonly": "no"})
    assert check_durability not in registry.get_checks()
    assert check_durability in registry.get_checks(include_deployment_checks=True)
    errors = io.StringIO()
    call_command("check", stderr=errors)
    assert "E006" not in errors.getvalue()


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "it is empty: None asks for nothing"),
        ({"replica": 1}, "'replica' is not replicas or aof"),
        ({"replicas": 0}, "replicas is 0, and not a number from 1 on"),
        ({"aof": True}, "aof is True, and not a number from 1 on"),
        ({"aof": "1"}, "aof is '1', and not a number from 1 on"),
    ],
)
def test_a_durability_that_cannot_work_is_an_error(settings, wanted, reason):
    settings.OUTBOX_REDIS_DURABILITY = wanted
    [message] = check_settings()
    assert (message.id, message.msg) == (
        "outbox.E002",
        f"OUTBOX_REDIS_DURABILITY can't work: {reason}.",
    )


@pytest.mark.parametrize("wanted", [None, {"replicas": 1}, {"aof": 1}, {"replicas": 2, "aof": 2}])
def test_a_durability_that_can_work_is_fine(settings, wanted):
    settings.OUTBOX_REDIS_DURABILITY = wanted
    assert check_settings() == []
