"""`XADD … IDMP`, against a stand-in for Redis 8.6 (see `idempotent_redis`)."""

import json

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from outbox import connections
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import idempotence
from outbox.publishers.redis import RedisStreamPublisher
from tests.integration.outbox.idempotent_redis import IdempotentRedis
from tests.integration.outbox.test_publishers import envelope


@pytest.fixture
def server(redis, settings):
    """A Redis with IDMP, as the broker."""
    address = redis.connection_pool.connection_kwargs
    idempotence._servers.clear()
    with IdempotentRedis((address["host"], address["port"])) as server:
        settings.OUTBOX_REDIS_URL = server.url
        yield server
    idempotence._servers.clear()


def publish(*groups):
    return [tuple(outcome) for outcome in RedisStreamPublisher().publish(groups)]


def ids(redis, stream="orders"):
    return [json.loads(f[b"event"])["eventId"] for _, f in redis.xrange(stream)]


def sent(server, name):
    return [words for words in server.commands if words[0] == name]


def test_a_message_that_is_sent_again_adds_nothing(redis, server):
    for _ in range(3):
        assert publish([envelope("a", 1)], [envelope("b", 1)]) == [(1, None), (1, None)]
    assert ids(redis) == ["a-orders-1", "b-orders-1"]


def test_what_is_sent_is_what_redis_documents(redis, server):
    publish([envelope("a", 1)])
    probe, add = sent(server, b"XADD")
    assert probe == (b"XADD outbox:idempotence NOMKSTREAM IDMP outbox probe * event ").split(b" ")
    assert add[:6] == [b"XADD", b"orders", b"IDMP", b"outbox:3", b"a-orders-1", b"*"]
    assert add[6] == b"event"
    assert len(add) == 8


def test_several_messages_of_an_aggregate_are_added_once_and_in_order(redis, server):
    first, second, third = (envelope("a", n) for n in (1, 2, 3))
    assert publish([first, second]) == [(2, None)]
    assert publish([first, second, third]) == [(3, None)]
    assert ids(redis) == ["a-orders-1", "a-orders-2", "a-orders-3"]


def test_a_refusal_ends_a_group_as_without(redis, server):
    redis.set("broken", "not a stream")
    group = [envelope("a", 1), envelope("a", 1, topic="broken"), envelope("a", 2)]
    [(published, error)] = publish(group)
    assert (published, type(error)) == (1, PublishError)
    assert ids(redis) == ["a-orders-1"]


def test_a_replay_is_added_although_the_stream_knows_its_id(redis, server):
    once = envelope("a", 1)
    replayed = once._replace(metadata={**once.metadata, "replay": "2026-11-21T10:00:00Z"})
    publish([once])
    publish([replayed], [replayed, envelope("a", 2)])
    assert ids(redis) == ["a-orders-1", "a-orders-1", "a-orders-1", "a-orders-2"]


def test_a_batch_of_the_largest_size_is_remembered_whole(redis, server):
    """Redis' own default is 100 ids a producer."""
    groups = [[envelope(f"{n}", 1), envelope(f"{n}", 2)] for n in range(2500)]
    for _ in range(2):
        publish(*groups)
    assert redis.xlen("orders") == 5000


def test_a_stream_is_told_once_to_keep_enough_ids(redis, server):
    for number in range(3):
        publish([envelope("a", number)], [envelope("a", number, topic="internal")])
    for stream in ("orders", "internal"):
        kept = redis.hgetall(f"idmp:settings:{stream}")
        assert kept == {b"IDMP-DURATION": b"86400", b"IDMP-MAXSIZE": b"10000"}
    assert len([words for words in sent(server, b"EVAL") if b"XCFGSET" in words[1]]) == 2
    assert redis.xinfo_groups("orders") == []


def test_a_stream_that_keeps_enough_keeps_the_ids_that_it_has(redis, server):
    publish([envelope("a", 1)])
    idempotence._servers.clear()  # as in another process
    publish([envelope("a", 1)])
    assert ids(redis) == ["a-orders-1"]


def test_a_stream_that_cannot_be_told_is_used_as_it_is(redis, server, monkeypatch, caplog):
    monkeypatch.setattr(idempotence, "DURATION", "a day")
    for _ in range(2):
        assert publish([envelope("a", 1)]) == [(1, None)]
    assert caplog.text.count("Some messages may be added to orders twice") == 1
    assert ids(redis) == ["a-orders-1"]


def test_once_all_is_known_a_batch_is_one_round_trip(redis, server):
    for number in range(3):
        publish([envelope("a", number)])
    server.commands.clear()
    publish([envelope("a", 3)], [envelope("b", 1)])
    assert [words[0] for words in server.commands] == [b"XADD", b"XADD"]


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_server_without_is_found_out_once_and_used_without(kind, request, monkeypatch):
    client = request.getfixturevalue(kind)
    idempotence._servers.clear()
    asked, ask = [], idempotence._has_idmp
    monkeypatch.setattr(idempotence, "_has_idmp", lambda one: asked.append(ask(one)) or asked[-1])
    for _ in range(3):
        assert publish([envelope("a", 1)]) == [(1, None)]
    assert asked == [False]
    assert ids(client) == ["a-orders-1"] * 3
    assert not client.exists(idempotence.PROBE)


@pytest.mark.parametrize(
    "error", [ReadOnlyError("..."), OutOfMemoryError("..."), ResponseError("MISCONF …")]
)
def test_a_server_in_no_state_to_tell_is_asked_again(redis, server, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(connections.redis_client(), "execute_command", raising(error))
        assert publish([envelope("a", 1)]) == [(1, None)]
    publish([envelope("a", 2)])
    publish([envelope("a", 2)])
    assert ids(redis) == ["a-orders-1", "a-orders-2"]


def raising(error):
    def execute(*_):
        raise error

    return execute


@pytest.mark.parametrize("many", [1, 2])
def test_an_older_server_in_its_place_is_not_the_messages_fault(redis, server, many):
    group = [envelope("a", number) for number in range(many)]
    publish(group)
    server.idempotent = False
    [(published, error)] = publish(group)
    assert (published, type(error)) == (0, BrokerUnavailable)
    assert publish(group) == [(many, None)]
    assert redis.xlen("orders") == 2 * many


def test_without_permission_it_is_used_without(redis, server, settings):
    redis.acl_setuser(
        "relay", enabled=True, nopass=True, reset=True, categories=["+@all"], keys=["orders"]
    )
    settings.OUTBOX_REDIS_URL = redis_as("relay", connections.redis_client())
    try:
        assert publish([envelope("a", 1)]) == [(1, None)]
    finally:
        redis.acl_deluser("relay")


def redis_as(user, client: Redis):
    address = client.connection_pool.connection_kwargs
    return f"redis://{user}:any@{address['host']}:{address['port']}/0?protocol=2"
