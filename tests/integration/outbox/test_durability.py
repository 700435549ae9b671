"""What Redis must have done before messages count as published, on real servers with a replica."""

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.connection import AbstractConnection

from config import embedded
from outbox import connections
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import adding, durability, unconfirmed
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay
from tests import notes
from tests.faults.proxy import Proxy
from tests.integration.outbox.consuming import eventually
from tests.integration.outbox.slow_link import SlowLink
from tests.integration.outbox.test_publishers import as_user, envelope, ids_of


class _Replica:
    """A second server that copies another one, or what is at a link to it."""

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
    unconfirmed._remembered.clear()
    with Redis.from_url(primary.url) as client, Redis.from_url(replica.url) as copy:
        for one in (client, copy):
            one.config_set("appendfsync", "always")
        client.flushall()
        client.wait(1, 5000)
        yield client, copy, replica
        client.config_set("appendonly", "yes")
        eventually(lambda: not _rewriting(client))  # which syncs, whatever the policy is


def _rewriting(client):
    found = client.info("persistence")
    return found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"]


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
    assert "are on the stream, and stay pending until it does" in text
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
    assert ids_of(copy) == ["a-orders-1", "a-orders-2", "a-orders-3"]


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
        "outbox.publishers.adding._add_in_order",
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
    """The replica's is, and tells so within a second; that is not the one that is asked for."""
    settings.OUTBOX_REDIS_DURABILITY, settings.OUTBOX_REDIS_TIMEOUT = {"aof": 1}, 5.0
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


# What came too late, and isn't added again.


@pytest.fixture(params=["redis", "valkey"])
def slow_pair(request, settings, tmp_path):
    """A primary, which is the broker, its replica, and the link between them."""
    primary_kind, replica_kind = KINDS[request.param]
    with primary_kind(tmp_path / "primary") as primary, SlowLink(primary.port) as link:
        with Redis.from_url(primary.url) as client:
            client.config_set("repl-diskless-sync-delay", 0)
        with replica_kind(tmp_path / "replica", link) as replica:
            settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
            for client, copy, _ in _as_broker((primary, replica), settings):
                yield client, copy, link


def note_ids(client):
    return Counter(one for stream in ("notes", "notes-internal") for one in ids_of(client, stream))


def test_behind_a_slow_link_everything_is_published_and_added_once(mongo, slow_pair, settings):
    client, copy, link = slow_pair
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_BATCH = 1, 20
    everything = set()
    for number in range(40):
        note = notes.Note(f"n{number}")
        note.write("x" * 2000)
        notes.repository().add(note)
        stored = mongo["notes"].find_one({"_id": note.id})["outbox"]["pending"]
        everything |= {one["event_id"] for one in stored}
    relay, short, link.rate = Relay("notes", publisher=RedisStreamPublisher()), 0, 50_000
    deadline = time.monotonic() + 60
    while pending := mongo["notes"].distinct("outbox.pending.event_id"):
        assert time.monotonic() < deadline
        try:
            relay.sweep()
        except BrokerUnavailable:
            short += 1
        there = set(note_ids(copy))
        counted = everything - set(mongo["notes"].distinct("outbox.pending.event_id"))
        assert counted <= there
        time.sleep(relay.rests_for)
    assert short >= 2
    assert not pending
    assert note_ids(client) == Counter(dict.fromkeys(everything, 1))
    assert mongo["notes"].distinct("outbox.pending.attempts") == []


def test_files_that_were_late_have_the_messages_by_now(valkey_pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"aof": 1}
    client, _, _ = valkey_pair
    publish(1)
    client.config_set("appendfsync", "no")
    with pytest.raises(BrokerUnavailable, match="only 0 of 1 append-only files"):
        publish(2, 3)
    client.config_set("appendfsync", "always")
    assert publish(2, 3, 4) == [(3, None)]
    assert ids_of(client) == [f"a-orders-{number}" for number in (1, 2, 3, 4)]


def test_what_is_there_by_now_counts_also_if_what_comes_behind_it_is_late(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, copy, replica = pair
    publish(1)
    with stopped(replica), pytest.raises(BrokerUnavailable):
        publish(2, 3)
    durability.ensure(connections.redis_client())
    client.set("broken", "not a stream")
    late = [[envelope("a", n) for n in (2, 3, 4)], [envelope("b", 1)]]
    refused = [envelope("c", 1, topic="broken")]
    with stopped(replica):
        first, second, third = RedisStreamPublisher().publish([*late, refused])
    assert (first.published, type(first.error)) == (2, BrokerUnavailable)
    assert (second.published, type(second.error)) == (0, BrokerUnavailable)
    assert (third.published, type(third.error)) == (0, PublishError)
    assert RedisStreamPublisher().publish([[envelope("a", 4)], [envelope("b", 1)]]) == [
        (1, None),
        (1, None),
    ]
    expected = ["a-orders-1", "a-orders-2", "a-orders-3", "a-orders-4", "b-orders-1"]
    assert ids_of(copy) == ids_of(client) == expected


def test_what_counts_once_is_not_remembered_for_ever(pair, settings):
    """Whoever publishes the same text once more, means it."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = pair
    publish(1)
    with stopped(replica), pytest.raises(BrokerUnavailable):
        publish(2)
    for _ in range(2):
        assert publish(2) == [(1, None)]
    assert ids_of(client) == ["a-orders-1", "a-orders-2", "a-orders-2"]


def _fall_short(link):
    """Two messages that the replica doesn't get."""
    assert publish(1) == [(1, None)]
    link.rate = 0
    with pytest.raises(BrokerUnavailable, match="are on the stream"):
        publish(2, 3)


def _follow(client, primary):
    """Make it a replica, and wait until it is."""
    client.replicaof("127.0.0.1", primary.connection_pool.connection_kwargs["port"])
    eventually(lambda: client.info("replication")["master_link_status"] == "up")


def test_after_a_failover_what_the_new_primary_lacks_is_added_again(slow_pair, settings):
    """Its clients needn't notice: a connection that ended while it was idle is made anew."""
    client, copy, link = slow_pair
    ports = [one.connection_pool.connection_kwargs["port"] for one in (client, copy)]
    with Proxy(ports[0]) as proxy:
        settings.OUTBOX_REDIS_URL = f"redis://127.0.0.1:{proxy.port}/0"
        _fall_short(link)
        copy.replicaof("no", "one")
        assert ids_of(copy) == ["a-orders-1"]
        _follow(client, copy)
        proxy.server_port = ports[1]
        proxy.cut()
        assert publish(2, 3) == [(2, None)]
    assert ids_of(copy) == ids_of(client) == ["a-orders-1", "a-orders-2", "a-orders-3"]


def test_what_a_primary_lost_while_it_was_a_replica_is_added_again(slow_pair):
    """The connection lasts, and the server is the same."""
    client, copy, link = slow_pair
    _fall_short(link)
    copy.replicaof("no", "one")
    _follow(client, copy)
    assert ids_of(client) == ["a-orders-1"]
    client.replicaof("no", "one")
    _follow(copy, client)
    assert publish(2, 3) == [(2, None)]
    assert ids_of(copy) == ids_of(client) == ["a-orders-1", "a-orders-2", "a-orders-3"]


def test_after_a_lost_connection_what_was_unconfirmed_is_added_again(pair, settings):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, copy, replica = pair
    with Proxy(client.connection_pool.connection_kwargs["port"]) as proxy:
        settings.OUTBOX_REDIS_URL = f"redis://127.0.0.1:{proxy.port}/0"
        publish(1)
        with stopped(replica), pytest.raises(BrokerUnavailable):
            publish(2)
        proxy.refuse()
        with pytest.raises(BrokerUnavailable, match="can't be reached"):
            publish(2)
        proxy.go_on()
        assert publish(2) == [(1, None)]
    assert ids_of(copy) == ["a-orders-1", "a-orders-2", "a-orders-2"]


def test_what_is_added_after_a_question_was_sent_it_does_not_confirm(pair, settings, monkeypatch):
    """Other threads add meanwhile."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, _ = pair
    broker, ask = connections.redis_client(), durability.ask
    text = "a message"

    def meanwhile(pipeline):
        ask(pipeline)
        unconfirmed.remember(
            broker, client.info("replication")["master_replid"], ["orders"], [text]
        )

    with monkeypatch.context() as patch:
        patch.setattr(durability, "ask", meanwhile)
        durability.ensure(broker)
    assert unconfirmed.take(broker, ["orders"], [text]) == 0
    durability.ensure(broker)
    assert unconfirmed.take(broker, ["orders"], [text]) == 1


@pytest.mark.parametrize("without", ["-info", "-eval"])
def test_without_a_permission_nothing_counts_that_is_not_there(pair, settings, without):
    """Without INFO, what was late is added again; without EVAL, the question comes at the end."""
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, copy, replica = pair
    with as_user(client, settings, commands=[without]):
        assert publish(1, 2) == [(2, None)]
        with stopped(replica), pytest.raises(BrokerUnavailable, match="are on the stream"):
            publish(3, 4)
        assert publish(3, 4) == [(2, None)]
    twice = [3, 4] if without == "-info" else []
    assert ids_of(copy) == [f"a-orders-{number}" for number in (1, 2, 3, 4, *twice)]


def test_messages_that_are_added_one_by_one_are_asked_for_after_that(pair, settings, monkeypatch):
    settings.OUTBOX_REDIS_DURABILITY = {"replicas": 1}
    client, _, replica = pair
    one_by_one = adding._one_by_one

    def while_stopped(*given):
        os.kill(replica.process.pid, signal.SIGSTOP)
        return one_by_one(*given)

    monkeypatch.setattr(adding, "_one_by_one", while_stopped)
    try:
        with (
            as_user(client, settings, commands=["-eval"]),
            pytest.raises(BrokerUnavailable, match="are on the stream"),
        ):
            publish(1, 2)
    finally:
        os.kill(replica.process.pid, signal.SIGCONT)
