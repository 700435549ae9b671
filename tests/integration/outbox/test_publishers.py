"""One contract over every publisher: in memory, on Redis and on Valkey."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import adding, idempotence
from outbox.publishers.memory import InMemoryPublisher
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay
from tests import notes


def envelope(aggregate_id, sequence, topic="orders", payload='{"a":1}'):
    return Envelope(
        event_id=f"{aggregate_id}-{topic}-{sequence}",
        type="OrderPlaced",
        version="1.0",
        topic=topic,
        aggregate_id=aggregate_id,
        sequence=sequence,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        payload=payload,
        metadata={"correlationId": "c"},
    )


def ids_of(client, stream="orders"):
    return [json.loads(fields[b"event"])["eventId"] for _, fields in client.xrange(stream)]


@contextmanager
def as_user(client, settings, *, keys=("*",), commands=()):
    """The broker, used by somebody who may do everything but for these."""
    client.acl_setuser(
        "relay",
        enabled=True,
        nopass=True,
        reset=True,
        categories=["+@all"],
        commands=list(commands),
        keys=list(keys),
    )
    port = client.connection_pool.connection_kwargs["port"]
    settings.OUTBOX_REDIS_URL = f"redis://relay:any@127.0.0.1:{port}/0"
    try:
        yield
    finally:
        client.acl_deluser("relay")


class InMemory:
    def __init__(self):
        self.publisher = InMemoryPublisher()

    def refuse(self, topic):
        self.publisher.refused.add(topic)

    def texts(self, stream):
        return self.publisher.streams[stream]


class OnServer:
    def __init__(self, client):
        self.publisher = RedisStreamPublisher()
        self.client = client

    def refuse(self, topic):
        self.client.set(topic, "not a stream")

    def texts(self, stream):
        entries = self.client.xrange(stream)
        assert all(set(fields) == {b"event"} for _, fields in entries)
        return [fields[b"event"].decode() for _, fields in entries]


@pytest.fixture(params=["memory", "redis", "valkey"])
def broker(request):
    if request.param == "memory":
        return InMemory()
    return OnServer(request.getfixturevalue(request.param))


def ids(broker, stream):
    return [json.loads(text)["eventId"] for text in broker.texts(stream)]


def test_messages_of_many_aggregates_arrive_in_the_order_of_each(broker):
    outcomes = broker.publisher.publish(
        [[envelope("a", 1), envelope("a", 2)], [envelope("b", 1)], [envelope("c", 5)]]
    )
    assert [tuple(outcome) for outcome in outcomes] == [(2, None), (1, None), (1, None)]
    assert ids(broker, "orders") == ["a-orders-1", "a-orders-2", "b-orders-1", "c-orders-5"]


def test_each_topic_has_a_stream_behind_the_prefix(broker, settings):
    settings.OUTBOX_STREAM_PREFIX = "shop:"
    broker.publisher.publish([[envelope("a", 1), envelope("a", 1, topic="internal")]])
    assert ids(broker, "shop:orders") == ["a-orders-1"]
    assert ids(broker, "shop:internal") == ["a-internal-1"]


SPREAD = {"orders": {"partitions": 4}, "internal": {"partitions": 1}}
PARTITION = {"a": 3, "b": 1, "c": 3, "d": 0}  # crc32(b"a") % 4 …


def test_a_topic_with_partitions_is_spread_by_aggregate_id(broker, settings):
    settings.OUTBOX_STREAM_PREFIX, settings.OUTBOX_TOPICS = "shop:", SPREAD
    broker.publisher.publish([[envelope(id, 1)] for id in PARTITION])
    for number in range(4):
        here = [f"{id}-orders-1" for id, partition in PARTITION.items() if partition == number]
        assert ids(broker, f"shop:orders.{number}") == here
    assert ids(broker, "shop:orders") == []


def test_an_aggregates_messages_stay_in_order_over_topics_with_and_without_partitions(
    broker, settings
):
    settings.OUTBOX_TOPICS = SPREAD
    sent = [
        envelope("a", 1),
        envelope("a", 1, topic="internal"),
        envelope("a", 2),
        envelope("a", 1, topic="plain"),
        envelope("a", 3),
    ]
    outcomes = broker.publisher.publish([sent, [envelope("b", 1), envelope("b", 2)]])
    assert [tuple(outcome) for outcome in outcomes] == [(5, None), (2, None)]
    assert ids(broker, "orders.3") == ["a-orders-1", "a-orders-2", "a-orders-3"]
    assert ids(broker, "orders.1") == ["b-orders-1", "b-orders-2"]
    assert ids(broker, "internal") == ["a-internal-1"]
    assert ids(broker, "plain") == ["a-plain-1"]


def test_a_partition_that_refuses_holds_up_only_its_own_aggregates(broker, settings):
    settings.OUTBOX_TOPICS = SPREAD
    if isinstance(broker, InMemory):
        pytest.skip("refuses whole topics")
    broker.refuse("orders.3")
    outcomes = broker.publisher.publish([[envelope(id, 1), envelope(id, 2)] for id in "abc"])
    assert [outcome.published for outcome in outcomes] == [0, 2, 0]


def test_text_arrives_to_the_letter(broker):
    broker.publisher.publish([[envelope("ü", 1, payload='{"a": "\\u0000 é \U0001f600"}')]])
    assert '"payload": {"a": "\\u0000 é \U0001f600"}' in broker.texts("orders")[0]


def test_a_group_ends_at_its_first_failure_and_other_groups_go_on(broker):
    broker.refuse("broken")
    outcomes = broker.publisher.publish(
        [
            [envelope("a", 1), envelope("a", 1, topic="broken"), envelope("a", 2)],
            [envelope("b", 1, topic="broken")],
            [envelope("c", 1)],
        ]
    )
    assert [outcome.published for outcome in outcomes] == [1, 0, 1]
    assert [type(outcome.error) for outcome in outcomes] == [PublishError, PublishError, type(None)]
    assert ids(broker, "orders") == ["a-orders-1", "c-orders-1"]


def test_the_envelope_is_the_one_that_the_settings_name(broker, settings):
    settings.OUTBOX_ENVELOPE = "outbox.envelope.to_cloudevents"
    broker.publisher.publish([[envelope("a", 1)]])
    assert json.loads(broker.texts("orders")[0])["specversion"] == "1.0"


def test_nothing_to_publish_is_no_error(broker):
    assert broker.publisher.publish([]) == []


@pytest.fixture(params=["redis", "valkey"])
def server(request):
    return request.getfixturevalue(request.param)


def test_a_server_that_cannot_take_messages_is_not_the_fault_of_any(server):
    server.replicaof("127.0.0.1", 1)
    try:
        outcomes = RedisStreamPublisher().publish([[envelope("a", 1)], [envelope("b", 1)] * 2])
    finally:
        server.replicaof("no", "one")
    assert [type(outcome.error) for outcome in outcomes] == [BrokerUnavailable] * 2


def test_a_server_without_memory_refuses_the_message(server):
    server.config_set("maxmemory", 1)
    try:
        outcomes = RedisStreamPublisher().publish([[envelope("a", 1)], [envelope("b", 1)] * 2])
    finally:
        server.config_set("maxmemory", 0)
    assert [type(outcome.error) for outcome in outcomes] == [PublishError] * 2


def test_a_broker_that_is_away_is_said_so(settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(BrokerUnavailable, match="Redis can't be reached"):
        RedisStreamPublisher().publish([[envelope("a", 1)]])


def test_a_lost_answer_is_an_unknown_outcome_and_nothing_is_sent_again(server):
    server.client_pause(400, all=False)  # writes wait; XADD answers late
    from outbox import connections

    with pytest.MonkeyPatch.context() as patch:
        short = connections.redis_client(0.1)
        patch.setattr(connections, "redis_client", lambda: short)
        with pytest.raises(BrokerUnavailable):
            RedisStreamPublisher().publish([[envelope("a", 1)]])
    server.execute_command("CLIENT", "UNPAUSE")
    assert server.xlen("orders") <= 1


def test_a_stream_that_may_not_be_written_is_the_fault_of_its_own_message(server, settings):
    """Redis refuses a whole script because of one key, and says it of none."""
    with as_user(server, settings, keys=["orders", "outbox:*"]):
        outcomes = RedisStreamPublisher().publish(
            [
                [envelope("a", 1), envelope("a", 2), envelope("a", 1, "closed"), envelope("a", 3)],
                [envelope("b", 1, "closed"), envelope("b", 1)],
                [envelope("c", 1), envelope("c", 2)],
                [envelope("d", 1)],
            ]
        )
    assert [outcome.published for outcome in outcomes] == [2, 0, 2, 1]
    assert [type(outcome.error) for outcome in outcomes[:2]] == [PublishError] * 2
    assert [outcome.error for outcome in outcomes[2:]] == [None] * 2
    assert "permissions" in str(outcomes[0].error)
    added = ["a-orders-1", "a-orders-2", "c-orders-1", "c-orders-2", "d-orders-1"]
    assert sorted(ids_of(server)) == added
    assert ids_of(server).index("a-orders-1") < ids_of(server).index("a-orders-2")
    assert not server.exists("closed")


def test_a_wrong_right_on_one_topic_is_charged_to_its_own_message(mongo, server, settings, caplog):
    note = notes.Note("n1")
    note.write("hello")
    note.write("again")
    notes.repository().add(note)
    with as_user(server, settings, keys=["notes", "outbox:*"]):
        assert Relay("notes").sweep() == 1
    first, *behind = mongo["notes"].find_one()["outbox"]["pending"]
    assert (first["topic"], first["attempts"]) == ("notes-internal", 1)
    assert [one.get("attempts") for one in behind] == [None] * 2
    assert server.xlen("notes") == 1
    assert "Publishing to notes-internal failed" in caplog.text


@pytest.mark.parametrize("long", [2, 30])
def test_without_the_right_to_run_scripts_messages_are_added_in_order(server, settings, long):
    groups = [[envelope(one, number) for number in range(long)] for one in "ab"]
    with as_user(server, settings, commands=["-eval"]):
        outcomes = RedisStreamPublisher().publish([*groups, [envelope("c", 1)]])
    assert outcomes == [(long, None), (long, None), (1, None)]
    for one in "ab":
        mine = [id for id in ids_of(server) if id.startswith(one)]
        assert mine == [f"{one}-orders-{number}" for number in range(long)]


def test_adding_one_by_one_does_not_take_for_ever(server, settings, monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 1000.0])
    monkeypatch.setattr(adding, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    group = [envelope("a", number) for number in range(10)]
    with as_user(server, settings, commands=["-eval"]):
        [outcome] = RedisStreamPublisher().publish([group])
    assert (outcome.published, type(outcome.error)) == (3, BrokerUnavailable)
    assert server.xlen("orders") == 3


def test_a_script_that_refuses_one_message_is_not_followed_by_another_try(server):
    server.set("broken", "not a stream")
    idempotence.prepare(server, [])  # what the client opens with adds as well, or tries to
    server.config_resetstat()
    group = [envelope("a", 1, topic="broken"), envelope("a", 1)]
    assert RedisStreamPublisher().publish([group])[0].published == 0
    assert server.info("commandstats")["cmdstat_xadd"]["calls"] == 1


@pytest.mark.parametrize("many", [1, 2])
def test_what_redis_says_is_told_without_the_trappings_of_a_script(server, many):
    def said(topic="orders"):
        return RedisStreamPublisher().publish([[envelope("a", 1, topic)] * many])[0].error.args[0]

    server.set("broken", "not a stream")
    refused = "Redis refused the message: "
    assert said("broken").startswith(f"{refused}WRONGTYPE Operation against a key")
    server.config_set("maxmemory", 1)
    try:
        memory = said()
    finally:
        server.config_set("maxmemory", 0)
    assert memory.removeprefix(refused).removeprefix("OOM ") == (
        "command not allowed when used memory > 'maxmemory'."
    )
    server.replicaof("127.0.0.1", 1)
    try:
        only = said()
    finally:
        server.replicaof("no", "one")
    assert only.removeprefix("Redis can't take messages now: ").removeprefix("READONLY ") == (
        "You can't write against a read only replica."
    )
