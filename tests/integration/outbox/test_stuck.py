"""Stuck messages: what fails again and again is told of, retried and discarded."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from outbox import backlog, batch, clock, discarded, document, indexes, operations, signals
from outbox.document import relaying
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay, lease
from tests import notes
from tests.integration.outbox.consuming import drain, eventually, projection, seen
from tests.notes import Note


@pytest.fixture(autouse=True)
def _notes(monkeypatch, settings):
    batch._told.clear()
    monkeypatch.setattr(operations, "collections", lambda: ["notes"])
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    settings.OUTBOX_STUCK_AFTER = 2


@pytest.fixture
def alerts():
    found = []

    def note(sender, **said):
        found.append((sender, said["message"], said["attempts"], str(said["error"])))

    signals.message_stuck.connect(note)
    yield found
    signals.message_stuck.disconnect(note)


@pytest.fixture
def store(database):
    """Of each kind, with the relay's indexes."""
    indexes.ensure_indexes(["notes"])
    return database


def write(*ids):
    for id in ids:
        note = Note(id)
        note.write("hello")
        notes.repository().add(note)


def fail(relay, times):
    for _ in range(times):
        relay.sweep()
        documents = relay._documents
        for found in list(documents.find()):
            due = {f"outbox.pending.{i}.due_at": clock.now(documents.database) for i in range(2)}
            if found["outbox"]["pending"]:
                documents.update_one({"_id": found["_id"]}, {"$set": due})


def stuck():
    return backlog.of(["notes"]).stuck


def retry(id, event_id):
    """How many were there to be retried."""
    return operations.retry([f"{event_id}/notes/{id}"], by="kim").count


def discard(id, event_id, reason="no", by="kim"):
    """How many were there to be discarded."""
    return operations.discard([f"{event_id}/notes/{id}"], reason=reason, by=by).count


def pending(store, id="a"):
    return store["notes"].find_one({"_id": id})["outbox"]["pending"]


def test_a_message_is_stuck_once_it_has_failed_so_often_and_that_is_told_once(
    mongo, relay, publisher, alerts, caplog
):
    publisher.refused.add("notes")
    write("a", "b")
    fail(relay, 1)
    assert (stuck(), alerts) == (0, [])
    fail(relay, 3)
    assert stuck() == 2
    assert sorted((sender, m.aggregate_id, n, error) for sender, m, n, error in alerts) == [
        ("notes", "a", 2, "notes is refused"),
        ("notes", "b", 2, "notes is refused"),
    ]
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    # Both in one line, if they are in one partition.
    assert {(r.action, r.topic, r.attempt) for r in told if hasattr(r, "action")} == {
        ("stuck", "notes", 2)
    }
    assert "failed, and is stuck, attempt 2 of" in caplog.text


def test_what_is_stuck_is_tried_on_and_not_dropped(mongo, relay, publisher):
    publisher.refused.add("notes")
    write("a")
    fail(relay, 5)
    assert [entry["sequence"] for entry in pending(mongo)] == [1, 1]
    publisher.refused.clear()
    assert relay.sweep() == 2
    assert stuck() == 0


def test_counting_and_listing_them_follow_an_index_that_holds_no_others(mongo, relay, publisher):
    publisher.refused.add("notes-internal")
    write(*(f"n{i}" for i in range(50)))
    publisher.refused.clear()
    relay.sweep()
    write(*(f"w{i}" for i in range(50)))
    publisher.refused.add("notes")
    write("a")
    fail(relay, 2)
    mongo["notes"].update_many({"_id": {"$ne": "a"}}, {"$unset": {"outbox.pending.0.attempts": 1}})
    explained = mongo.command(
        "explain",
        {"find": "notes", "filter": relaying.failed(2), "hint": document.FAILED_INDEX},
        verbosity="executionStats",
    )["executionStats"]
    assert (explained["totalKeysExamined"], explained["totalDocsExamined"]) == (1, 1)


def test_a_message_that_is_retried_is_tried_at_once_and_counts_as_never_tried(
    store, relay, publisher
):
    publisher.refused.add("notes")
    write("a")
    relay.sweep()
    relay.sweep()
    entry = pending(store)[0]
    assert entry["attempts"] == 1
    publisher.refused.clear()
    assert relay.sweep() == 0  # it waits
    retry("a", entry["event_id"])
    assert "attempts" not in pending(store)[0]
    assert pending(store)[0]["last_error"] == "notes is refused"
    retry("a", entry["event_id"])
    assert relay.sweep() == 2


def test_retrying_a_message_has_those_tried_that_it_waits_for(store, relay, publisher):
    publisher.refused.add("notes")
    write("a")
    relay.sweep()
    publisher.refused.clear()
    retry("a", pending(store)[1]["event_id"])
    assert relay.sweep() == 2


def test_what_is_discarded_leaves_a_tombstone_with_its_id_and_number(store, relay, publisher):
    publisher.refused.add("notes")
    write("a")
    fail(relay, 2)
    event_id = pending(store)[0]["event_id"]
    discard("a", event_id, reason="nobody wants it")
    assert stuck() == 0
    publisher.refused.clear()
    assert relay.sweep() == 2
    found = json.loads(publisher.streams["notes"][0])
    assert (found["eventId"], found["eventType"], found["sequenceNumber"]) == (
        event_id,
        "NotePublished",
        1,
    )
    assert found["payload"] is None
    assert found["metadata"]["discarded"] is True


def test_what_is_discarded_is_kept_with_who_and_why_and_expires(store, relay, publisher):
    publisher.refused.add("notes")
    write("a")
    relay.sweep()
    entry = pending(store)[0]
    discard("a", entry["event_id"], reason="nobody wants it")
    kept = store[discarded.COLLECTION].find_one()
    assert kept["_id"] == entry["event_id"]
    assert (kept["payload"], kept["metadata"]) == (entry["payload"], entry["metadata"])
    assert (kept["discarded_by"], kept["reason"]) == ("kim", "nobody wants it")
    assert (kept["aggregate_id"], kept["topic"], kept["sequence"]) == ("a", "notes", 1)
    assert kept["attempts"] == 1
    indexes = store[discarded.COLLECTION].index_information()
    assert indexes[discarded.TTL_INDEX]["expireAfterSeconds"] == 7 * 24 * 3600


def test_discarding_twice_has_one_effect(store, relay, publisher):
    write("a")
    event_id = pending(store)[0]["event_id"]
    discard("a", event_id, reason="first")
    discard("a", event_id, reason="second", by="alex")
    assert store[discarded.COLLECTION].find_one()["reason"] == "first"
    assert store[discarded.COLLECTION].find_one()["payload"] != "null"
    assert relay.sweep() == 2


def test_a_message_behind_the_first_can_be_discarded(store, relay, publisher):
    write("a")
    discard("a", pending(store)[1]["event_id"])
    assert relay.sweep() == 2
    assert '"payload": null' in publisher.streams["notes-internal"][0]
    assert '"payload": null' not in publisher.streams["notes"][0]


def test_discarding_a_message_leaves_the_stuck_one_before_it_stuck(store, relay, publisher):
    publisher.refused.add("notes")
    write("a")
    fail(relay, 2)
    before = pending(store)[0]
    discard("a", pending(store)[1]["event_id"])
    assert pending(store)[0] == before
    assert stuck() == 1


def test_a_failure_that_was_under_way_does_not_undo_a_retry(mongo, publisher):
    publisher.refused.add("notes")
    relay = Relay("notes", publisher=publisher)
    write("a")
    fail(relay, 1)

    class Retried(InMemoryPublisher):
        def publish(self, groups):
            retry("a", groups[0][0].event_id)
            return publisher.publish(groups)

    Relay("notes", publisher=Retried()).sweep()
    # Tried at once, as it was to be, and counted from the beginning.
    assert pending(mongo)[0]["attempts"] == 1


@pytest.mark.parametrize("act", [retry, discard])
@pytest.mark.parametrize("ids", [("a", "published"), ("nobody", "published")])
def test_what_is_no_longer_pending_is_missed(store, relay, act, ids):
    write("a")
    relay.sweep()
    assert act(*ids) == 0


def test_no_message_is_touched_that_came_to_the_place_of_another(mongo, publisher, monkeypatch):
    """The relay pulls between the look and the update: positions have changed."""
    relay = Relay("notes", publisher=publisher)
    write("a")
    entries = pending(mongo)
    release = relaying.release
    calls = []

    def late(*args):
        if not calls:
            relay.sweep()
            again = notes.repository().get("a")
            again.write("again")
            notes.repository().save(again)
        calls.append(args)
        return release(*args)

    monkeypatch.setattr(relaying, "release", late)
    assert retry("a", entries[0]["event_id"]) == 0
    assert len(calls) == 1


def test_a_message_that_a_relay_is_publishing_is_not_said_to_be_discarded(mongo, publisher):
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(InMemoryPublisher):
        def publish(self, groups):
            at_work.set()
            assert go_on.wait(10)
            return publisher.publish(groups)

    write("a")
    event_id = pending(mongo)[0]["event_id"]
    with ThreadPoolExecutor(2) as threads:
        relayed = threads.submit(Relay("notes", publisher=Slow()).sweep)
        assert at_work.wait(10)
        decided = threads.submit(discard, "a", event_id)
        time.sleep(0.3)
        assert not decided.done()
        go_on.set()
        assert relayed.result() == 2
        assert decided.result() == 0
    assert mongo[discarded.COLLECTION].count_documents({}) == 0


def test_a_relay_that_hangs_or_has_died_keeps_nobody_from_discarding_for_long(
    mongo, settings, publisher
):
    settings.OUTBOX_LEASE = 0.5
    write("a")
    partition = mongo["notes"].find_one()["outbox"]["partition"]
    assert lease("notes", partition).acquire()
    discard("a", pending(mongo)[0]["event_id"])
    assert relaying.is_tombstone(pending(mongo)[0])
    assert Relay("notes", publisher=publisher).sweep() == 2


def test_consumers_go_on_behind_a_tombstone(mongo, redis, monkeypatch):
    relay = Relay("notes")
    write("a")
    discard("a", pending(mongo)[0]["event_id"])
    note = notes.repository().get("a")
    note.write("again")
    notes.repository().save(note)
    assert relay.sweep() == 4
    counts = drain(projection())
    assert counts["dead letters"] == 0
    assert eventually(lambda: seen("a")) == [2]
