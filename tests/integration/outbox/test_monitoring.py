"""What monitoring says is what a count of the documents and streams says."""

import time
from datetime import timedelta

import pytest

from outbox import backlog, broker_state, connections, diagnosis, monitoring
from outbox.errors import PublishError, StoreUnavailable
from outbox.lease import Lease
from outbox.publishers.base import Outcome
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from outbox.telemetry import telemetry
from tests import notes
from tests.integration.outbox.consuming import Stage, add, event
from tests.notes import Note

pytestmark = pytest.mark.usefixtures("mongo", "redis")


@pytest.fixture
def only_notes(monkeypatch):
    """A project of which only the notes exist: its tables are the real one's otherwise."""
    monkeypatch.setattr(monitoring, "collections", lambda: ["notes"])


def write(*ids):
    """Notes with two messages each."""
    for id in ids:
        note = Note(id)
        note.write("hello")
        notes.repository().add(note)


class Refusing(InMemoryPublisher):
    def publish(self, groups):
        return [Outcome(0, PublishError("no")) for _ in groups]


def test_pending_is_counted_by_message_and_its_age_is_that_of_the_oldest(only_notes):
    for number in range(3):
        write(f"n{number}")
    state = monitoring.overview()
    assert state.pending.messages == 6
    assert state.pending.is_exact
    documents = connections.collection("notes")
    oldest = min(e["occurred_at"] for d in documents.find() for e in d["outbox"]["pending"])
    assert state.pending.oldest == oldest


def test_what_is_too_much_to_count_is_estimated(only_notes, monkeypatch):
    monkeypatch.setattr(backlog, "COUNTED", 4)
    for number in range(10):
        write(f"n{number}")
    state = monitoring.overview()
    assert state.pending.messages == 20
    assert not state.pending.is_exact


def test_a_message_that_failed_long_ago_is_the_oldest_although_it_is_due_last(
    only_notes, monkeypatch
):
    monkeypatch.setattr(backlog, "COUNTED", 4)
    for number in range(10):
        write(f"n{number}")
    documents = connections.collection("notes")
    first = documents.find_one({"_id": "n3"})["outbox"]["pending"][0]
    long_ago = first["occurred_at"] - timedelta(hours=1)
    documents.update_one(
        {"_id": "n3"},
        {
            "$set": {
                "outbox.pending.0.occurred_at": long_ago,
                "outbox.pending.0.due_at": first["due_at"] + timedelta(hours=1),
                "outbox.pending.0.attempts": 3,
            }
        },
    )
    assert monitoring.overview().pending.oldest == long_ago


def test_stuck_messages_are_counted_and_bad(only_notes, settings):
    settings.OUTBOX_STUCK_AFTER = 1
    write("n1", "n2")
    Relay("notes", publisher=Refusing()).sweep()
    write("n3")
    state = monitoring.overview()
    assert (state.pending.messages, state.stuck) == (6, 2)
    found = {one.code: one for one in diagnosis.problems(state)}
    assert found["stuck"].level == "warning"
    assert "2 messages are stuck" in found["stuck"].text
    settings.OUTBOX_THRESHOLDS = {"stuck": (1, 2)}
    assert diagnosis.level(diagnosis.problems(state)) == "bad"


def test_the_lag_is_what_a_group_has_not_read(redis, valkey_url, settings):
    stage = Stage("recorded")
    for number in (1, 2, 3):
        add(redis, event("n1", number))
    name, topic = stage.subscriber.name, stage.subscriber.topic
    groups, lengths, _ = broker_state.read([topic], {name: topic})
    assert (groups[name].lag, groups[name].lag_is_exact) == (3, True)
    assert lengths[topic] == 3
    assert groups[name].seconds >= 0
    stage.consumer().drain()
    add(redis, event("n1", 4))
    groups, lengths, _ = broker_state.read([topic], {name: topic})
    assert (groups[name].lag, groups[name].unacknowledged, lengths[topic]) == (1, 0, 4)


@pytest.mark.parametrize("broker", ["redis", "valkey"])
def test_the_lag_is_counted_so_far_and_said_to_be_more(request, broker, monkeypatch):
    client = request.getfixturevalue(broker)
    monkeypatch.setattr(broker_state, "COUNTED", 2000)
    for one in range(0, 4000, 500):
        pipeline = client.pipeline()
        for _ in range(500):
            pipeline.xadd("notes", {"event": b"{}"})
        pipeline.execute()
        if not one:
            client.xgroup_create("notes", "titles", "0")
            client.xreadgroup("titles", "me", {"notes": ">"}, count=10)
    state = broker_state.read(["notes"], {"titles": "notes"}).groups["titles"]
    assert state.unacknowledged == 10
    if broker == "redis":  # 6.2 doesn't say
        assert (state.lag, state.lag_is_exact) == (2000, False)
    else:
        assert (state.lag, state.lag_is_exact) == (3990, True)


def test_a_broker_that_is_away_is_said_in_words(settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    state = monitoring.overview()
    assert state.broker_error
    found = diagnosis.problems(state)
    assert found[0].code == "broker"
    assert diagnosis.level(found) == "bad"


def test_a_server_that_hangs_is_waited_for_once_and_not_for_each_question(monkeypatch, settings):
    settings.OUTBOX_MONGODB_TIMEOUT = 0.5
    clocks = monitoring.clock.now

    def hanging(database):
        time.sleep(0.6)
        return clocks(database)

    monkeypatch.setattr(monitoring.clock, "now", hanging)
    with pytest.raises(StoreUnavailable):
        monitoring.overview()


def test_leases_say_who_holds_them():
    import os
    import socket

    lease = Lease(connections.database(), "relay:notes:3", 5)
    assert lease.acquire()
    held = monitoring.overview().leases
    assert [(one.name, one.holder) for one in held] == [
        ("relay:notes:3", f"{socket.gethostname()}:{os.getpid()}")
    ]
    lease.release()
    assert monitoring.overview().leases == []


def test_relays_and_consumers_are_seen_and_missed(settings):
    settings.OUTBOX_STATISTICS = True
    telemetry.forget()
    state = monitoring.overview()
    codes = {(one.code, one.subject) for one in diagnosis.problems(state)}
    assert ("no_relay", "") in codes
    subscriber = state.subscribers[0].name
    assert ("no_consumer", subscriber) in codes
    Relay("notes").sweep()
    telemetry.alive(f"consumer:{subscriber}")
    telemetry.flush()
    state = monitoring.overview()
    assert state.relay_seen < 5
    codes = {(one.code, one.subject) for one in diagnosis.problems(state)}
    assert ("no_relay", "") not in codes
    assert ("no_consumer", subscriber) not in codes


def test_the_worst_state_of_a_breaker_is_told(settings):
    settings.OUTBOX_STATISTICS = True
    telemetry.forget()
    subscriber = monitoring.overview().subscribers[0].name
    telemetry.breaker(subscriber, "open")
    telemetry.flush()
    telemetry.forget()  # another process
    telemetry.breaker(subscriber, "closed")
    telemetry.flush()
    state = monitoring.overview()
    assert state.subscribers[0].breaker == "open"
    assert sorted(one.state for one in state.breakers) == ["closed", "open"]
    assert any(one.code == "breaker" for one in diagnosis.problems(state))


def test_a_key_that_is_no_stream_is_told_of_and_nothing_said_of_its_readers(redis):
    redis.set("notes", "hello")
    state = broker_state.read(["notes"], {"titles": "notes"})
    assert state.strange == {"notes": "string"}
    assert state.groups == {}


def test_data_that_redis_has_lost_is_told_of_for_an_hour(redis, settings):
    settings.OUTBOX_STATISTICS = True
    telemetry.forget()
    stage = Stage("recorded")
    add(redis, event("n1", 1))
    stage.consumer().drain()
    consumer = stage.consumer()
    consumer._group.create()
    redis.delete("notes")
    assert consumer._group.read(10, 0) == []
    telemetry.flush()
    state = monitoring.overview()
    assert state.lost == ["titles"]
    assert "data_lost" in {one.code for one in diagnosis.problems(state)}
