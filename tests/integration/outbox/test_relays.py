"""The relays of a process that runs for long: woken by commits, and never alone."""

import json
import threading
import time
from collections import defaultdict
from contextlib import contextmanager

import pytest
from pymongo.errors import OperationFailure

from outbox import change_stream, clock, connections, document
from outbox import relays as module
from outbox.document import relaying, saving
from outbox.due import Due
from outbox.errors import BrokerUnavailable
from outbox.indexes import ensure_indexes
from outbox.lease import Lease
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay, lease
from outbox.relays import Relays
from tests import notes
from tests.integration.outbox.consuming import eventually
from tests.integration.outbox.test_standalone import Standalone
from tests.notes import Note

pytestmark = pytest.mark.usefixtures("mongo", "redis")


@pytest.fixture
def repository():
    return notes.repository()


@pytest.fixture
def told(monkeypatch):
    """The change stream tells of no commit until this event is set."""
    event, commits = threading.Event(), change_stream.commits

    def late(*args):
        for commit in commits(*args):
            if commit is not None:
                event.wait(20)
            yield commit

    monkeypatch.setattr(change_stream, "commits", late)
    return event


@contextmanager
def running(threads=2):
    relays = Relays([Relay("notes")], threads)
    relays.start()
    try:
        yield relays
    finally:
        assert relays.stop()


@contextmanager
def watching(threads=2):
    """Relays whose change stream is open."""
    with running(threads) as relays:
        eventually(lambda: relays.is_watching)
        yield relays


def write(repository, id):
    note = Note(id)
    note.write("hello")
    repository.add(note)
    return note


def rewrite(repository, note):
    note.write("again")
    repository.save(note)


def pending(mongo):
    return mongo["notes"].count_documents({"outbox.pending.0": {"$exists": True}})


def numbers(redis, stream="notes"):
    """Of each note, the numbers as they are on the stream."""
    found = defaultdict(list)
    for _, fields in redis.xrange(stream):
        event = json.loads(fields[b"event"])
        found[event["aggregateId"]].append(event["sequenceNumber"])
    return dict(found)


def test_each_commit_is_published_once_in_order_without_waiting_for_a_sweep(
    mongo, redis, repository, monkeypatch
):
    monkeypatch.setattr(module, "SWEEP_EVERY", 60.0)
    with watching():
        for round in range(3):
            some = [write(repository, f"{round}-{number}") for number in range(20)]
            for note in some:
                rewrite(repository, note)
                rewrite(repository, note)
        eventually(lambda: pending(mongo) == 0)
    assert numbers(redis) == {f"{r}-{n}": [1, 2, 3] for r in range(3) for n in range(20)}


def test_in_the_long_run_a_commit_costs_no_query_and_no_lease(
    mongo, redis, repository, monkeypatch, settings, commands
):
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_LEASE = 1, 60.0
    monkeypatch.setattr(module, "SWEEP_EVERY", 60.0)
    monkeypatch.setattr(module, "CLOCK_TOLERANCE", 0 * module.CLOCK_TOLERANCE)
    with watching():
        write(repository, "first")
        eventually(lambda: pending(mongo) == 0)
        time.sleep(0.05)
        commands.clear()
        for number in range(5):
            note = write(repository, f"n{number}")
            eventually(lambda: pending(mongo) == 0)
            rewrite(repository, note)
            eventually(lambda: pending(mongo) == 0)
        asked = [one for one in commands.on("notes", "outbox_leases") if one[0] != "aggregate"]
    insert, update = ("insert", "notes"), ("update", "notes")  # and a pull after each
    assert asked == [insert, update, update, update] * 5
    assert numbers(redis) == {"first": [1]} | {f"n{number}": [1, 2] for number in range(5)}


def test_after_a_change_of_partitions_no_lease_but_the_documents_own_is_enough(
    mongo, redis, repository, monkeypatch, settings
):
    settings.OUTBOX_PARTITIONS = 8
    some = [write(repository, f"n{number}") for number in range(16)]
    Relay("notes").sweep()
    settings.OUTBOX_PARTITIONS = 5
    partitions = {one["_id"]: one["outbox"]["partition"] for one in mongo["notes"].find()}
    moved = [one for one in some if partitions[one.id] != saving.partition_of(one.id)]
    assert moved
    monkeypatch.setattr(module, "CLOCK_TOLERANCE", 0 * module.CLOCK_TOLERANCE)
    # Somebody else has the leases of documents that are left where they were.
    others = {
        number: lease("notes", number)
        for number in {partitions[one.id] for one in moved} - {partitions["n0"]}
    }
    moved = [one for one in moved if partitions[one.id] in others]
    warm = [Note(f"w{n}") for n in range(40) if saving.partition_of(f"w{n}") not in others]
    with watching():
        assert all(one.acquire() for one in others.values())
        for note in warm:  # the leases of all other partitions are the relays' from here on
            note.write("hello")
            repository.add(note)
        eventually(lambda: pending(mongo) == 0)
        time.sleep(0.05)
        for note in moved:
            rewrite(repository, note)
        time.sleep(0.5)
        assert redis.xlen("notes") == len(some) + len(warm)
        for one in others.values():
            one.release()
        eventually(lambda: pending(mongo) == 0)
    found = numbers(redis)
    assert {one.id: found[one.id] for one in moved} == {one.id: [1, 2] for one in moved}


def test_what_is_committed_while_the_relays_are_busy_is_held_if_it_is_small(
    mongo, redis, repository, monkeypatch
):
    held, add = [], Due.add

    def noted(self, place, *things, look=False):
        held.extend(things)
        add(self, place, *things, look=look)

    monkeypatch.setattr(Due, "add", noted)
    monkeypatch.setattr(module, "SMALL", 2_000)
    with watching():
        for id, text in [("small", "x" * 500), ("large", "x" * 4_000)]:
            note = Note(id)
            note.write(text)
            repository.add(note)
        eventually(lambda: pending(mongo) == 0)
    assert {one["_id"] for one in held} == {"small"}
    assert numbers(redis) == {"small": [1], "large": [1]}


@pytest.mark.parametrize("outbox", [[{"a": 1}], {"pending": [7]}, {"pending": {"0": 1}}, "none"])
def test_a_document_that_is_none_of_the_outboxs_ends_nothing(mongo, redis, repository, outbox):
    with watching() as relays:
        mongo["notes"].insert_one({"_id": "odd", "version": 1, "outbox": outbox})
        write(repository, "n1")
        eventually(lambda: redis.xlen("notes") == 1)
        assert relays.is_watching


def test_whatever_a_stream_breaks_off_by_it_is_opened_again_and_that_is_told_once(
    mongo, redis, repository, monkeypatch, caplog
):
    monkeypatch.setattr(module, "WATCH_AGAIN", 0.05)
    caplog.set_level("INFO")
    committed, broken = relaying.committed, []

    def odd(change):
        if len(broken) < 3:
            broken.append(change)
            raise AttributeError("'list' object has no attribute 'get'")
        return committed(change)

    monkeypatch.setattr(relaying, "committed", odd)
    with watching() as relays:
        for number in range(4):
            write(repository, f"n{number}")
            eventually(lambda: pending(mongo) == 0)
            eventually(lambda: relays.is_watching)
    assert len(broken) == 3
    said = [one.message for one in caplog.records if one.name == "outbox.relays"]
    assert len([one for one in said if "MongoDB is polled meanwhile: 'list' object" in one]) == 1
    assert said.count("Woken by the change stream.") == 2


def test_a_stream_that_may_not_be_opened_is_told_of(repository, redis, monkeypatch, caplog):
    def denied(*args):
        raise OperationFailure("not authorized on outbox to execute command", 13)
        yield

    monkeypatch.setattr(change_stream, "commits", denied)
    monkeypatch.setattr(module, "WATCH_AGAIN", 0.05)
    with running() as relays:
        write(repository, "n1")
        eventually(lambda: redis.xlen("notes") == 1)
        time.sleep(0.3)
        assert not relays.is_watching
    [told] = [one.message for one in caplog.records if "polled" in one.message]
    assert told.endswith("MongoDB is polled meanwhile: not authorized on outbox to execute command")


def test_what_a_drain_has_published_is_not_published_again_when_the_stream_tells_of_it(
    mongo, redis, repository, monkeypatch, told
):
    monkeypatch.setattr(module, "CLOCK_TOLERANCE", 0 * module.CLOCK_TOLERANCE)
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.05)
    with watching():
        for number in range(30):
            write(repository, f"n{number}")
        eventually(lambda: pending(mongo) == 0)
        told.set()
        time.sleep(0.5)
    assert numbers(redis) == {f"n{number}": [1] for number in range(30)}


def test_what_was_committed_before_the_lease_was_taken_is_looked_up(mongo, redis, repository, told):
    """Another relay may have published it; the change stream doesn't tell."""
    with watching():
        for number in range(30):
            write(repository, f"n{number}")
        Relay("notes").sweep()
        eventually(lambda: pending(mongo) == 0)
        told.set()
        time.sleep(0.5)
    assert numbers(redis) == {f"n{number}": [1] for number in range(30)}


def test_a_message_behind_one_that_waits_is_not_published_before_it(mongo, redis, repository):
    with watching():
        redis.set("notes", "not a stream")
        note = write(repository, "a")
        eventually(lambda: mongo["notes"].find_one({"outbox.pending.attempts": {"$gte": 1}}))
        rewrite(repository, note)
        redis.delete("notes")
        eventually(lambda: pending(mongo) == 0, within=20)
    assert numbers(redis) == {"a": [1, 2]}


@pytest.mark.parametrize("threads", [1, 4])
def test_several_and_the_sweep_on_beat_side_by_side_publish_everything_in_order(
    mongo, redis, repository, threads
):
    ended = threading.Event()

    def beat():
        relay = Relay("notes")
        while not ended.wait(0.02):
            relay.sweep()

    with watching(threads), watching(threads):
        sweeping = threading.Thread(target=beat)
        sweeping.start()
        try:
            some = [write(repository, f"n{number}") for number in range(40)]
            for _ in range(5):
                for note in some:
                    rewrite(repository, note)
            eventually(lambda: pending(mongo) == 0)
        finally:
            ended.set()
            sweeping.join()
    assert numbers(redis) == {f"n{number}": [1, 2, 3, 4, 5, 6] for number in range(40)}


def test_a_lease_is_kept_for_a_while_and_then_given_back(mongo, repository, monkeypatch):
    monkeypatch.setattr(module, "KEEP", 0.3)
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.1)
    with watching():
        write(repository, "a")
        eventually(lambda: pending(mongo) == 0)
        assert mongo["outbox_leases"].find_one({"owner": {"$ne": None}})
        eventually(lambda: not mongo["outbox_leases"].find_one({"owner": {"$ne": None}}))


def test_whoever_claims_a_lease_that_is_kept_gets_it_soon(mongo, repository, settings, monkeypatch):
    settings.OUTBOX_LEASE, settings.OUTBOX_PARTITIONS = 2.0, 1
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.1)
    with watching():
        write(repository, "a")
        eventually(lambda: pending(mongo) == 0)
        other = Lease(mongo, "relay:notes:0", 5)

        def gets_it():
            other.claim()
            return other.acquire()

        began = time.monotonic()
        eventually(gets_it)
        assert time.monotonic() < began + 1.8  # before it has run out
        write(repository, "b")
        time.sleep(0.3)
        assert pending(mongo) == 1
        other.release()
        eventually(lambda: pending(mongo) == 0)


def test_stopped_it_gives_its_leases_back(mongo, repository):
    with watching():
        write(repository, "a")
        eventually(lambda: pending(mongo) == 0)
    assert not mongo["outbox_leases"].find_one({"owner": {"$ne": None}})


@pytest.mark.parametrize("code", [286, 280])
def test_a_stream_whose_history_is_lost_is_opened_anew_and_nothing_is_missed(
    mongo, redis, repository, monkeypatch, caplog, code
):
    """286: ChangeStreamHistoryLost; 280: ChangeStreamFatalError."""
    commits, opened = change_stream.commits, []

    def lost(*args):
        opened.append(args)
        for commit in commits(*args):
            yield commit
            if commit is not None and len(opened) == 1:
                write(repository, "meanwhile")
                raise OperationFailure("Resume of change stream was not possible", code)

    monkeypatch.setattr(change_stream, "commits", lost)
    with watching() as relays:
        write(repository, "before")
        eventually(lambda: len(opened) == 2 and relays.is_watching)
        write(repository, "after")
        eventually(lambda: pending(mongo) == 0)
    assert numbers(redis) == {"before": [1], "meanwhile": [1], "after": [1]}
    told = [one.message for one in caplog.records if "polled" in one.message]
    assert len(told) == 1
    assert "Resume of change stream was not possible" in told[0]


@pytest.mark.parametrize(
    "uri", ["mongomock://", "standalone"], ids=["in process", "standalone server"]
)
def test_without_change_streams_mongodb_is_polled_and_that_is_said(
    redis, settings, caplog, tmp_path, uri
):
    with standing_alone(tmp_path, uri) as uri:
        settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_DATABASE = uri, "polled"
        repository = notes.repository()
        ensure_indexes([repository])
        with running(threads=1) as relays:
            for number in range(3):
                write(repository, f"n{number}")
                eventually(
                    lambda: (
                        not connections.database()["notes"].count_documents(
                            {"outbox.pending.event_id": {"$exists": True}}
                        )
                    )
                )
            assert not relays.is_watching
    assert numbers(redis) == {f"n{number}": [1] for number in range(3)}
    assert len([one for one in caplog.records if "MongoDB is polled" in one.message]) == 1


@contextmanager
def standing_alone(folder, uri):
    if uri != "standalone":
        yield uri
        return
    with Standalone(folder / "mongod") as server:
        yield server.url


def test_while_the_broker_is_away_nothing_is_tried_and_all_is_published_when_it_is_back(
    mongo, redis, repository, monkeypatch
):
    away, tries, publish = threading.Event(), [], RedisStreamPublisher.publish

    def refusing(self, groups):
        tries.append(groups)
        if away.is_set():
            raise BrokerUnavailable("gone")
        return publish(self, groups)

    monkeypatch.setattr(RedisStreamPublisher, "publish", refusing)
    with watching():
        away.set()
        for number in range(50):
            write(repository, f"n{number}")
        assert len(tries) <= 5
        assert pending(mongo) == 50
        away.clear()
        eventually(lambda: pending(mongo) == 0)
    assert numbers(redis) == {f"n{number}": [1] for number in range(50)}
    assert not mongo["notes"].find_one({"outbox.pending.attempts": {"$exists": True}})


def test_a_backlog_is_drained_in_turns_and_in_bounded_batches(mongo, redis, repository, settings):
    settings.OUTBOX_BATCH = 20
    for number in range(300):
        write(repository, f"n{number}")
    with running(threads=2):
        eventually(lambda: pending(mongo) == 0)
    assert numbers(redis) == {f"n{number}": [1] for number in range(300)}


def test_what_is_due_later_is_found_by_a_sweep(mongo, redis, repository):
    write(repository, "a")
    later = clock.after(mongo, 1.5)
    mongo["notes"].update_one({}, {"$set": {"outbox.pending.0.due_at": later}})
    with watching():
        time.sleep(0.3)
        assert numbers(redis) == {}
        eventually(lambda: pending(mongo) == 0)


def test_a_missing_index_is_said_and_the_process_goes_on(mongo, caplog):
    mongo["notes"].drop_index(document.DUE_INDEX)
    with running():
        eventually(lambda: any("index" in one.message for one in caplog.records))
