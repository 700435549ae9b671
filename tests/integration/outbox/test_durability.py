"""What Redis must have done before messages count as published, on real servers with a replica."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.connection import AbstractConnection

from config import embedded
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import durability
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay
from tests import notes
from tests.integration.outbox.test_publishers import envelope


class _Replica:
    """A second server that copies another one."""

    def __init__(self, folder, primary):
        super().__init__(folder)
        self.primary = primary

    def _command(self):
        return [*super()._command(), "--replicaof", "127.0.0.1", str(self.primary.port)]

    def _ready(self):
        with Redis.from_url(self.url) as client:
            return super()._ready() and client.info("replication")["master_link_status"] == "up"


class RedisReplica(_Replica, embedded.Redis):
    pass


class ValkeyReplica(_Replica, embedded.Valkey):
    pass


KINDS = {"redis": (embedded.Redis, RedisReplica), "valkey": (embedded.Valkey, ValkeyReplica)}


@contextmanager
def _pair(kind, factory):
    primary_kind, replica_kind = KINDS[kind]
    with primary_kind(factory.mktemp(kind)) as primary:
        with Redis.from_url(primary.url) as client:
            client.config_set("repl-diskless-sync-delay", 0)
        with replica_kind(factory.mktemp(f"{kind}-replica"), primary) as replica:
            yield primary, replica


@pytest.fixture(scope="module")
def _redis_pair(tmp_path_factory):
    with _pair("redis", tmp_path_factory) as pair:
        yield pair


@pytest.fixture(scope="module")
def _valkey_pair(tmp_path_factory):
    with _pair("valkey", tmp_path_factory) as pair:
        yield pair


@pytest.fixture(params=["redis", "valkey"])
def pair(request, settings):
    """A primary, which is the broker, and its replica."""
    yield from _as_broker(request.getfixturevalue(f"_{request.param}_pair"), settings)


@pytest.fixture
def valkey_pair(_valkey_pair, settings):
    yield from _as_broker(_valkey_pair, settings)


def _as_broker(pair, settings):
    primary, replica = pair
    settings.OUTBOX_REDIS_URL = primary.url
    settings.OUTBOX_REDIS_TIMEOUT = 1.0
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    durability._satisfied.clear()
    with Redis.from_url(primary.url) as client, Redis.from_url(replica.url) as copy:
        for one in (client, copy):
            one.config_set("appendfsync", "always")
        client.flushall()
        client.wait(1, 5000)
        yield client, copy, replica
        client.config_set("appendonly", "yes")


@contextmanager
def stopped(server):
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def publish(*sequences):
    return RedisStreamPublisher().publish([[envelope("a", n) for n in sequences]])


@contextmanager
def requests(monkeypatch):
    """Counts what is sent to Redis: a pipeline is sent at once, and answered."""
    sent, send = [], AbstractConnection.send_packed_command

    def counting(self, command, *args, **options):
        sent.append(command)
        return send(self, command, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", counting)
        yield sent


@pytest.fixture(params=[{"replicas": 1}, {"aof": 1}, {"aof": 2}, {"aof": 2, "replicas": 1}])
def wanted(request, settings):
    settings.OUTBOX_REDIS_DURABILITY = request.param
    return request.param


def test_what_counts_as_published_is_with_the_replica(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    _, copy, _ = pair
    for first in range(1, 200, 2):
        assert publish(first, first + 1)[0].published == 2
        assert copy.xlen("orders") == first + 1


def test_what_is_asked_for_adds_no_round_trip(valkey_pair, wanted, settings, monkeypatch):
    settings.OUTBOX_REDIS_TIMEOUT = 5.0
    publish(1)  # the first of a process may take more
    with requests(monkeypatch) as sent:
        for number in range(2, 5):
            assert publish(number)[0].published == 1
    assert len(sent) == 3


def test_nothing_counts_as_published_that_too_few_replicas_have(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = pair
    publish(1)
    with stopped(replica), pytest.raises(BrokerUnavailable) as raised:
        publish(2, 3)
    text = str(raised.value)
    assert 'OUTBOX_REDIS_DURABILITY = {"replicas": 1}' in text
    assert "after 0.4 s only 0 of 1 replicas have the messages" in text
    assert "are on the stream, stay pending and will be published again" in text
    assert client.xlen("orders") == 3


def test_retries_add_nothing_to_the_stream_while_a_replica_is_away(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, copy, replica = pair
    publish(1)
    with stopped(replica):
        for attempt in range(4):
            with pytest.raises(BrokerUnavailable) as raised:
                publish(2, 3)
            assert ("Nothing was published" in str(raised.value)) == (attempt > 0)
            assert client.xlen("orders") == 3
    assert publish(2, 3)[0].published == 2
    assert copy.xlen("orders") == 5


def test_a_process_that_starts_while_a_replica_is_away_adds_nothing_at_all(pair, settings):
    """It has written nothing itself, and WAIT is about what its own connection has written."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = pair
    with stopped(replica):
        client.xadd("orders", {"event": "of another process"})
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match="Nothing was published"):
                publish(1)
    assert client.xlen("orders") == 1


def test_a_batch_that_adds_nothing_waits_for_what_another_process_has_added(
    valkey_pair, settings, monkeypatch
):
    """With IDMP a repeat writes nothing, so that WAIT alone would look no further."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = valkey_pair
    publish(1)
    monkeypatch.setattr(
        "outbox.publishers.redis._add",
        lambda pipeline, *_: pipeline.execute_command("XADD", "none", "NOMKSTREAM", "*", "a", "b"),
    )
    with stopped(replica):
        client.xadd("orders", {"event": "of another process"})
        with pytest.raises(BrokerUnavailable, match="only 0 of 1 replicas"):
            publish(2)


def test_the_relay_leaves_all_pending_and_burns_no_attempt(mongo, pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    _, copy, replica = pair
    note = notes.Note("n1")
    note.write("hello")
    notes.repository().add(note)
    relay = Relay("notes", publisher=RedisStreamPublisher())
    with stopped(replica), pytest.raises(BrokerUnavailable):
        relay.sweep()
    left = mongo["notes"].find_one()["outbox"]["pending"]
    assert [one.get("attempts") for one in left] == [None, None]
    deadline = time.monotonic() + 10
    while not copy.xlen("notes"):  # its circuit breaker rests for a second
        assert time.monotonic() < deadline
        time.sleep(relay.rests_for)
        relay.sweep()
    assert mongo["notes"].find_one()["outbox"]["pending"] == []
    assert copy.xlen("notes") == copy.xlen("notes-internal") == 1


def test_a_refused_message_is_its_own_fault_and_not_that_of_durability(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = pair
    publish(1)
    client.set("broken", "not a stream")
    with stopped(replica):
        [outcome] = RedisStreamPublisher().publish([[envelope("a", 2, topic="broken")]])
    assert isinstance(outcome.error, PublishError)


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_the_append_only_file_is_waited_for(valkey_pair, settings, policy):
    settings.OUTBOX_REDIS_DURABILITY, settings.OUTBOX_REDIS_TIMEOUT = {"aof": 1}, 10.0
    client, _, _ = valkey_pair
    client.config_set("appendfsync", policy)
    client.config_resetstat()
    assert [outcome.published for outcome in (*publish(1), *publish(2, 3))] == [1, 2]
    assert client.info("commandstats")["cmdstat_waitaof"]["calls"] == 3  # the first asks twice


def test_files_that_are_never_synced_never_count(valkey_pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"aof": 1}
    client, _, _ = valkey_pair
    client.config_set("appendfsync", "no")
    client.set("some", "write")
    with pytest.raises(BrokerUnavailable, match="with `appendfsync no` none ever does"):
        publish(1)
    assert client.xlen("orders") == 0


def test_the_append_only_files_of_replicas_count_as_well(valkey_pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"aof": 2}
    client, _, replica = valkey_pair
    settings.OUTBOX_REDIS_TIMEOUT = 5.0
    assert publish(1)[0].published == 1
    settings.OUTBOX_REDIS_TIMEOUT = 1.0
    with stopped(replica), pytest.raises(BrokerUnavailable, match="only 1 of 2 append-only files"):
        publish(2)
    assert client.xlen("orders") == 1


def test_a_server_without_waitaof_is_found_out_before_anything_is_added(redis, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"aof": 1}
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match=r"use Redis 7\.2 or later"):
            publish(1)
    assert redis.xlen("orders") == 0


def test_a_server_without_append_only_file_is_found_out_before_anything_is_added(
    valkey_pair, settings
):
    settings.OUTBOX_REDIS_DURABILITY = {"aof": 1}
    client, _, _ = valkey_pair
    client.config_set("appendonly", "no")
    with pytest.raises(BrokerUnavailable, match="set `appendonly yes`"):
        publish(1)
    assert client.xlen("orders") == 0


def test_a_server_that_cannot_write_is_said_to(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, _ = pair
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable, match="it can't write the key outbox:durability"):
            publish(1)
    finally:
        client.config_set("maxmemory", 0)


def test_after_a_failure_the_next_batch_asks_first(_valkey_pair, valkey_pair, settings):
    """Another server may have taken over, and have less."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    (primary, replica), (client, *_) = _valkey_pair, valkey_pair
    publish(1)
    with stopped(primary), pytest.raises(BrokerUnavailable, match="can't be reached"):
        publish(2)
    assert client.xlen("orders") == 2
    with stopped(replica), pytest.raises(BrokerUnavailable, match="Nothing was published"):
        publish(2)
    assert client.xlen("orders") == 2
