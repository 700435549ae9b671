"""Rebuilding a read model while everything runs: all of it, once, or nothing."""

import io
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pymongo import IndexModel, InsertOne

from outbox import connections, dead_letter_actions, dead_letters, dispatched, swap
from outbox.envelope import Envelope
from outbox.errors import RebuildRefused
from outbox.lease import Lease
from outbox.rebuild import rebuild
from outbox.relay import Relay
from tests import notes
from tests.integration.outbox.consuming import (
    READ_MODEL,
    add,
    consumer,
    drain,
    event,
    letters,
    projection,
    publish_notes,
    replay,
    seen,
    seen_by_all,
    waiting,
)

ROOT = Path(__file__).parents[3]
GROUP = "titles"

pytestmark = pytest.mark.usefixtures("mongo", "redis")


@pytest.fixture(autouse=True)
def long_lease(settings):
    """No stall of the machine outlasts it; a test that waits for its end asks for the short one."""
    settings.OUTBOX_LEASE = 10.0


@pytest.fixture
def short_lease(settings, long_lease):
    settings.OUTBOX_LEASE = 1.0


@pytest.fixture(autouse=True)
def nothing_is_left(mongo):
    """No rebuild leaves a collection, a swap or a lease behind, however it ends."""
    yield
    assert not [name for name in mongo.list_collection_names() if ".rebuild." in name]
    assert mongo[swap.COLLECTION].count_documents({}) == 0
    held = {"_id": {"$regex": "^(rebuild|consumer):"}, "owner": {"$ne": None}}
    assert mongo["outbox_leases"].count_documents(held) == 0


def archived(*events):
    """Events in the archive, as the relay would have put them there."""
    for one in events:
        found = Envelope(
            event_id=one["eventId"],
            type=one["eventType"],
            version=one["version"],
            topic="notes",
            aggregate_id=one["aggregateId"],
            sequence=one["sequenceNumber"],
            occurred_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
            payload='{"noteText": "%s"}' % one["payload"]["noteText"],  # noqa: UP031
            metadata=one["metadata"],
        )
        now = datetime.now(UTC)
        dispatched.archive(connections.database(), "notes", [found], now)


def spoil():
    """Make the read model wrong, as a bug would."""
    connections.database()[READ_MODEL].update_many({}, {"$set": {"wrong": True}})


def model():
    return list(connections.database()[READ_MODEL].find().sort("_id"))


def cursors():
    return {
        one["_id"].split(":")[-1]: one["sequence"] for one in database()["outbox_cursors"].find()
    }


def database():
    return connections.database()


@contextmanager
def consuming(subscriber, *streams):
    """Consumers in threads, for as long as this lasts."""
    several = [consumer(subscriber, stream) for stream in streams or ["notes"]]
    threads = [threading.Thread(target=one.run) for one in several]
    for thread in threads:
        thread.start()
    try:
        yield several
    finally:
        for one in several:
            one.stop()
        for thread in threads:
            thread.join(20)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it hasn't come about"
        time.sleep(0.02)


# The history, wherever it is


def test_a_rebuilt_model_is_the_one_that_was_built_bit_by_bit(redis):
    ids = publish_notes(20, changes=4)
    drain(projection())
    built, before = model(), cursors()
    spoil()

    done = rebuild(projection())

    assert model() == built
    assert cursors() == before
    assert (done.events, done.aggregates, done.skipped) == (80, 20, 0)
    assert set(seen_by_all()) == set(ids)


def test_what_is_no_longer_on_the_stream_comes_from_the_archive(redis):
    publish_notes(20, changes=4)
    drain(projection())
    built = model()
    redis.delete("notes")

    rebuild(projection())

    assert model() == built


def test_what_was_never_archived_comes_from_the_stream(settings, mongo):
    settings.OUTBOX_RETENTION = None
    publish_notes(20, changes=4)
    assert mongo["outbox_dispatched"].count_documents({}) == 0
    drain(projection())
    built = model()

    rebuild(projection())

    assert model() == built


def test_archive_and_stream_complete_each_other(redis):
    events = [event(f"n{i}", number) for number in (1, 2, 3, 4) for i in range(10)]
    entries = add(redis, *events)
    drain(projection())
    built = model()
    redis.xdel("notes", *entries[:10])
    archived(*events[:25])

    rebuild(projection())

    assert model() == built


def test_the_order_of_the_archive_doesn_t_matter(redis):
    events = [event(f"n{i}", number) for number in (1, 2, 3, 4) for i in range(10)]
    add(redis, *events)
    drain(projection())
    built = model()
    redis.delete("notes")
    ids = [one["eventId"] for one in events]
    random.shuffle(ids)
    archived(*(one | {"eventId": event_id} for one, event_id in zip(events, ids, strict=True)))

    rebuild(projection())

    assert {one["_id"]: [e["sequence"] for e in one["seen"]] for one in built} == seen_by_all()
    assert set(map(tuple, seen_by_all().values())) == {(1, 2, 3, 4)}


def test_few_events_wait_for_their_turn_where_the_archive_begins_late(redis, monkeypatch):
    """The stream has all, the archive the later half: read one after the other, half would wait."""
    from outbox.rebuild import model as module

    events = [event(f"n{i}", number) for number in range(1, 11) for i in range(10)]
    add(redis, *events)
    archived(*events[50:])
    most, follow = [0], module.Model._follow

    def watched(self, aggregate_id):
        most[0] = max(most[0], sum(map(len, self.early.values())))
        follow(self, aggregate_id)

    monkeypatch.setattr(module.Model, "_follow", watched)
    rebuild(projection())

    assert most[0] == 0
    assert set(map(len, seen_by_all().values())) == {10}


@pytest.mark.parametrize("where", ["both", "archive"])
def test_a_long_history_is_read_in_pages(redis, monkeypatch, where):
    monkeypatch.setattr("outbox.rebuild.history.PAGE", 7)
    monkeypatch.setattr("outbox.rebuild.PAGE", 7)
    monkeypatch.setattr("outbox.rebuild.model.PAGE", 7)
    monkeypatch.setattr("outbox.rebuild.model.BATCH", 5)
    monkeypatch.setattr("outbox.swap.CHUNK", 3)
    publish_notes(20, changes=5)
    if where == "archive":
        redis.delete("notes")
    told = []

    done = rebuild(projection(), progress=told.append)

    assert set(map(tuple, seen_by_all().values())) == {(1, 2, 3, 4, 5)}
    assert (len(seen_by_all()), len(cursors()), done.events) == (20, 20, 100)
    assert told == sorted(told) and len(told) > 10


def test_all_streams_of_the_topic_are_read_those_of_before_too(redis, settings):
    add(redis, event("n1", 1), event("n2", 1))
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    add(redis, event("n1", 2), event("n3", 1), stream="notes.0")
    add(redis, event("n2", 2), event("n4", 1), stream="notes.1")

    rebuild(projection())

    assert seen_by_all() == {"n1": [1, 2], "n2": [1, 2], "n3": [1], "n4": [1]}


def test_events_are_read_as_they_are_off_the_stream(redis):
    """The same delivery from the archive and from the stream: time, metadata and fractions."""
    given = []

    def keep(event, delivery):
        given.append(delivery._replace(text="", added_at=None))  # the archive knows neither

    publish_notes(1, changes=2)
    drain(projection(keep))
    from_stream = list(given)
    given.clear()
    redis.delete("notes")
    rebuild(projection(keep))

    assert given == from_stream != []


def test_types_without_a_handler_and_what_is_no_event_are_passed_over(redis):
    offer = event("n1", 2, eventType="NoteOffered", payload={"recipient": "you"})
    add(redis, "no event at all", event("n1", 1), offer, event("n1", 3, payload=None))
    add(redis, event("n1", 4))

    done = rebuild(projection())

    assert (seen(), cursors(), done.events) == ([1, 4], {"n1": 4}, 2)


def test_upcasters_are_applied(redis):
    from outbox import Upcaster

    add(redis, event("n1", 1, version="0.9", payload={"text": "old"}))
    step = Upcaster("NotePublished", "0.9", "1.1", lambda old: {"noteText": old["text"]})

    rebuild(projection(), upcasters=[step])

    assert model()[0]["seen"][0]["text"] == "old"


def test_the_new_model_has_the_subscriber_s_indexes(redis, mongo):
    add(redis, event("n1", 1))
    index = IndexModel([("seen.text", 1)], name="by_text")

    rebuild(projection(indexes=[index]))

    assert "by_text" in mongo[READ_MODEL].index_information()


def test_one_that_began_now_gets_what_was_before_and_goes_on(redis):
    add(redis, event("n1", 1), event("n1", 2))
    from_now = projection(start="now")

    rebuild(from_now)
    add(redis, event("n1", 3), event("n2", 1))
    drain(from_now)

    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1]}


# While everything runs


def while_reading(monkeypatch, do):
    """Do something between the first reading and the consumers' stop."""
    from outbox import rebuild as module

    take = module._take_leases

    def meanwhile(*arguments):
        do()
        take(*arguments)

    monkeypatch.setattr(module, "_take_leases", meanwhile)


def test_consumers_and_the_relay_go_on_and_each_event_is_there_once(redis, short_lease):
    repository, ended, ids = notes.repository(), threading.Event(), []

    def write():
        number = 0
        while not ended.is_set():
            note_id, number = f"w{number}", number + 1
            note = notes.Note(note_id)
            note.write("first")
            repository.add(note)
            ids.append(note_id)
            for one in random.sample(ids, min(3, len(ids))):
                known = repository.get(one)
                known.write(f"change {number}")
                repository.save(known)
            Relay("notes").sweep()

    writer = threading.Thread(target=write)
    with consuming(projection()) as (worker,):
        writer.start()
        wait_until(lambda: len(ids) > 20)
        for _ in range(3):
            spoil()
            done = rebuild(projection())
            assert done.events > 0
            before = len(ids)
            wait_until(lambda before=before: len(ids) > before + 10)
        ended.set()
        writer.join()
        Relay("notes").sweep()
        last = {
            one["_id"]: one["outbox"]["sequences"]["notes"] for one in database()["notes"].find()
        }
        wait_until(lambda: cursors() == last)
        assert worker.counts["failures"] == 0

    assert seen_by_all() == {one: list(range(1, many + 1)) for one, many in last.items()}
    assert letters() == waiting() == []
    assert not any("wrong" in one for one in model())


def test_a_reader_never_sees_less_than_there_was(redis):
    publish_notes(30, changes=3)
    drain(projection())
    ended, counts, wrong = threading.Event(), [], []

    def poll():
        while not ended.is_set():
            found = list(database()[READ_MODEL].find())
            counts.append(sum(len(one["seen"]) for one in found))
            wrong.append(sum("wrong" in one for one in found))

    spoil()
    reader = threading.Thread(target=poll)
    reader.start()
    with consuming(projection()):
        for _ in range(3):
            rebuild(projection())
    ended.set()
    reader.join()

    assert set(counts) == {90} and len(counts) > 10
    # The old one, then the new one, never some of each.
    assert set(wrong) == {30, 0} and wrong == sorted(wrong, reverse=True)


def test_consumers_are_stopped_only_when_the_history_has_been_read(redis):
    add(redis, event("n1", 1))
    held = []

    def handler(event, delivery):
        lease = database()["outbox_leases"].find_one({"_id": "consumer:titles:notes"})
        held.append(lease is not None and lease.get("claimed_by") is not None)

    rebuild(projection(handler))

    assert held == [False]


def test_what_comes_after_the_first_reading_is_taken_as_well(redis, monkeypatch):
    add(redis, event("n1", 1))

    def meanwhile():
        add(redis, event("n1", 2), event("n2", 1))
        drain(projection())

    while_reading(monkeypatch, meanwhile)
    rebuild(projection())

    assert seen_by_all() == {"n1": [1, 2], "n2": [1]}
    assert drain(projection())["handled"] == 0
    assert seen_by_all() == {"n1": [1, 2], "n2": [1]}


def test_consumers_are_stopped_when_the_swap_begins(redis, monkeypatch):
    add(redis, event("n1", 1))
    begin, handled = swap.begin, []

    def watched(written, held):
        add(redis, event("n1", 2))
        handled.append(drain(projection())["handled"])
        begin(written, held)

    monkeypatch.setattr(swap, "begin", watched)
    rebuild(projection())

    assert (handled, seen()) == ([0], [1])
    drain(projection())
    assert seen() == [1, 2]


def test_what_was_trimmed_before_it_was_read_is_looked_for_in_the_archive(redis, monkeypatch):
    first, second, third = (event("n1", number) for number in (1, 2, 3))
    add(redis, first)

    def meanwhile():
        add(redis, second)
        drain(projection())
        archived(second)
        redis.xtrim("notes", maxlen=0)
        add(redis, third)

    while_reading(monkeypatch, meanwhile)
    rebuild(projection())

    assert seen() == [1, 2, 3]


def test_events_that_consumers_had_not_come_to_are_repeats_for_them(redis):
    add(redis, event("n1", 1), event("n1", 2))
    drain(projection())
    add(redis, event("n1", 3))

    rebuild(projection())

    assert seen() == [1, 2, 3]
    assert drain(projection())["repeats"] == 1
    assert seen() == [1, 2, 3]


def test_a_paused_consumer_can_t_write_what_the_new_model_has(redis, monkeypatch, settings):
    """It has its batch and its handlers have run; then it sleeps past its lease."""
    add(redis, event("n1", 1))
    drain(projection())
    add(redis, event("n1", 2))
    from outbox import transactions

    run, slept = transactions.run, []

    def paused(callback, **more):
        if not slept:
            slept.append(True)
            monkeypatch.setattr(transactions, "run", run)
            rebuild(projection())
        return run(callback, **more)

    monkeypatch.setattr(transactions, "run", paused)
    settings.OUTBOX_LEASE = 1.2
    sleeper = consumer(projection())
    with pytest.raises(Exception, match="Another consumer"):
        sleeper.drain()
    settings.OUTBOX_LEASE = 10.0

    assert seen() == [1, 2]
    drain(projection())
    assert seen() == [1, 2]


# Refused


def intact(built, refusal, *said):
    """The refused rebuild said so, changed nothing, and consumers go on."""
    for text in (*said, "Nothing was changed"):
        assert text in str(refusal.value)
    assert model() == built
    assert database()["outbox_leases"].find_one({"_id": f"rebuild:{GROUP}"})["owner"] is None
    add(connections.redis_client(), event("new", 1))
    time.sleep(0.7)
    assert drain(projection())["handled"] == 1
    assert seen("new") == [1]


def test_an_expired_history_is_refused(redis):
    for i in range(7):
        add(redis, *(event(f"n{i}", number) for number in (1, 2, 3)))
    drain(projection())
    built = model()
    entries = redis.xrange("notes")
    redis.xdel("notes", *(entries[i * 3][0] for i in range(7)))

    with pytest.raises(RebuildRefused) as refusal:
        rebuild(projection())

    said = "Events of 7 aggregates are missing: n0 lacks number 1 (number 2 is there); n1"
    intact(built, refusal, said, "; …", "OUTBOX_RETENTION")
    assert "n5" not in str(refusal.value)


def test_a_gap_is_refused(redis):
    _, middle, _ = add(redis, *(event("n1", number) for number in (1, 2, 3)))
    drain(projection())
    built = model()
    redis.xdel("notes", middle)

    with pytest.raises(RebuildRefused) as refusal:
        rebuild(projection())

    intact(built, refusal, "n1 lacks number 2 (number 3 is there)")


@pytest.mark.parametrize("left", [0, 1])
def test_a_history_that_ends_before_the_old_model_is_refused(redis, left):
    entries = add(redis, *(event("n1", number) for number in (1, 2)))
    drain(projection())
    built = model()
    redis.xdel("notes", *entries[left:])

    with pytest.raises(RebuildRefused) as refusal:
        rebuild(projection())

    intact(built, refusal, f"n1 lacks number {left + 1} (number 2 has been handled)")


def fails(event, delivery):
    raise ZeroDivisionError("so it is")


def refused_by_the_server(event, delivery):
    return [InsertOne({"_id": 1}), InsertOne({"_id": 1})]


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(fails, "ZeroDivisionError: so it is"), (refused_by_the_server, "E11000")],
)
def test_a_failing_handler_is_refused(redis, handler, reason):
    add(redis, event("n1", 1), bad := event("n1", 2))
    drain(projection())
    built = model()

    def second(event, delivery):
        return handler(event, delivery) if delivery.sequence == 2 else None

    with pytest.raises(RebuildRefused) as refusal:
        rebuild(projection(second))

    intact(built, refusal, f"NotePublished {bad['eventId']}, number 2 of n1", reason)


def test_a_collection_that_others_write_as_well_is_refused(redis):
    with pytest.raises(RebuildRefused, match="is written by customer-orders as well"):
        rebuild(projection(collection="customer_orders"))


def test_a_consumer_that_doesn_t_let_go_is_refused(redis, monkeypatch, short_lease):
    monkeypatch.setattr("outbox.rebuild.PATIENCE", 0.0)
    holder = Lease(database(), f"consumer:{GROUP}:notes", 10.0)
    assert holder.acquire()

    with pytest.raises(RebuildRefused, match="doesn't let go of consumer:titles:notes"):
        rebuild(projection())
    holder.release()


def test_of_two_at_once_the_second_is_refused(redis, short_lease):
    add(redis, event("n1", 1))
    slow = threading.Event()

    def handler(event, delivery):
        slow.wait(10)

    first = threading.Thread(target=rebuild, args=[projection(handler)])
    first.start()
    wait_until(lambda: [n for n in database().list_collection_names() if ".rebuild." in n])
    # For longer than a lease: the first keeps it.
    time.sleep(1.3)
    with pytest.raises(RebuildRefused, match="titles is being rebuilt already"):
        rebuild(projection())
    slow.set()
    first.join()


def test_one_that_lost_its_lease_changes_nothing(redis, monkeypatch):
    """As if it had been paused: another has the lease when it wants to begin the swap."""
    add(redis, event("n1", 1))
    drain(projection())
    built = model()
    begin = swap.begin

    def late(written, held):
        wanted = {"_id": f"rebuild:{GROUP}"}
        database()["outbox_leases"].update_one(wanted, {"$set": {"owner": "another"}})
        begin(written, held)

    monkeypatch.setattr(swap, "begin", late)
    with pytest.raises(RebuildRefused, match="Nothing was changed"):
        rebuild(projection())

    assert model() == built
    database()["outbox_leases"].delete_one({"_id": f"rebuild:{GROUP}"})


# Dead letters, deferred events and gaps that were passed


def test_dead_letters_are_left_out_and_counted(redis):
    add(redis, event("n1", 1), event("n1", 2), event("n2", 1), event("n2", 2))

    def fussy(event, delivery):
        if delivery.sequence == 2:
            raise ValueError("no")
        return projection().handlers[notes.NotePublished](event, delivery)

    drain(projection(fussy, max_attempts=1))
    first, second = letters()
    dead_letter_actions.discard([second["_id"]], reason="nobody wants it", by="somebody")

    done = rebuild(projection())

    assert seen_by_all() == {"n1": [1], "n2": [1]}
    assert (done.skipped, done.events, cursors()) == (2, 2, {"n1": 2, "n2": 2})
    # And can be replayed, once.
    replay(first["_id"])
    rebuild(projection())
    drain(projection())
    drain(projection())
    assert seen_by_all() == {first["aggregate_id"]: [1, 2], second["aggregate_id"]: [1]}
    rebuild(projection())
    assert seen_by_all() == {first["aggregate_id"]: [1, 2], second["aggregate_id"]: [1]}


def fail_on(number):
    def handler(event, delivery):
        if delivery.sequence == number:
            raise ValueError("no")
        return projection().handlers[notes.NotePublished](event, delivery)

    return projection(handler, max_attempts=1)


def test_a_dead_letter_that_is_replayed_meanwhile_isn_t_lost(redis, monkeypatch):
    add(redis, event("n1", 1), event("n1", 2), event("n1", 3))
    drain(fail_on(2))

    def replaying():
        replay(letters()[0]["_id"])
        drain(projection())

    while_reading(monkeypatch, replaying)
    done = rebuild(projection())

    assert (sorted(seen()), done.skipped) == ([1, 2, 3], 0)


def test_what_becomes_a_dead_letter_meanwhile_isn_t_applied_twice(redis, monkeypatch):
    add(redis, event("n1", 1), event("n1", 2), event("n1", 3))
    while_reading(monkeypatch, lambda: drain(fail_on(2)))

    rebuild(projection())

    assert seen() == [1, 2, 3]
    (letter,) = letters()
    assert letter["state"] == dead_letters.REPLAYED
    # Had somebody asked for it just before.
    database()["outbox_dead_letters"].update_one({}, {"$set": {"state": dead_letters.DEAD}})
    replay(letter["_id"])
    drain(projection())
    assert seen() == [1, 2, 3]


def test_what_comes_meanwhile_and_becomes_a_dead_letter_is_left_out(redis, monkeypatch):
    add(redis, event("n1", 1))

    def meanwhile():
        add(redis, event("n1", 2), event("n1", 3))
        drain(fail_on(2))

    while_reading(monkeypatch, meanwhile)
    done = rebuild(projection())

    assert (seen(), done.skipped) == ([1, 3], 1)


def test_deferred_events_are_not_applied_twice(redis):
    add(redis, event("n1", 1))
    drain(fail_on(0))
    add(redis, event("n1", 2), event("n1", 3), event("n2", 2))
    drain(projection(fail_on(2).handlers[notes.NotePublished]))
    assert len(waiting()) == 3
    add(redis, event("n2", 1))

    rebuild(projection())

    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1, 2]}
    assert waiting() == []
    drain(projection())
    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1, 2]}


def test_a_gap_that_consumers_went_past_is_gone_past(redis, settings):
    settings.OUTBOX_GAP_POLICY, settings.OUTBOX_GAP_TIMEOUT = "pass", 0.0
    late = event("n1", 2)
    add(redis, event("n1", 1), event("n1", 3), event("n1", 4))
    drain(projection())
    drain(projection())
    assert seen() == [1, 3, 4]

    rebuild(projection())

    assert (seen(), cursors()) == ([1, 3, 4], {"n1": 4})
    # What comes then becomes a dead letter, as it would have.
    add(redis, late)
    drain(projection())
    assert [one["event_id"] for one in letters()] == [late["eventId"]]


def test_a_gap_that_the_history_fills_is_none_any_more(redis, settings):
    settings.OUTBOX_GAP_POLICY, settings.OUTBOX_GAP_TIMEOUT = "pass", 0.0
    late = event("n1", 2)
    add(redis, event("n1", 1), event("n1", 3))
    drain(projection())
    drain(projection())
    archived(late)

    rebuild(projection())
    add(redis, late)
    drain(projection())

    assert (seen(), letters()) == ([1, 2, 3], [])


# Dying

DYING = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_DATABASE = sys.argv[1:3]
settings.OUTBOX_REDIS_URL, settings.OUTBOX_LEASE = sys.argv[3], 0.6
django.setup()
from pymongo.collection import Collection
from outbox import rebuild, swap
from tests.integration.outbox.consuming import projection
at, = sys.argv[4:]
module = rebuild if at.startswith("_take") else Collection if at == "delete_one" else swap
whole = getattr(module, at)
def dies(*arguments, **more):
    os._exit(9)
setattr(module, at, dies)
rebuild.rebuild(projection())
"""


def die(settings, at):
    """A rebuild in a process of its own that dies when it comes to this step."""
    where = [settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_DATABASE]
    arguments = [*where, settings.OUTBOX_REDIS_URL, at]
    died = subprocess.run(
        [sys.executable, "-c", DYING, *arguments], cwd=ROOT, capture_output=True, timeout=60
    )
    assert died.returncode == 9, died.stderr.decode()


BEFORE = ["_take_leases", "begin"]
WITHIN = ["finish", "_rename", "_close_letters", "_remove_passed", "delete_one"]


@pytest.fixture
def half_way(redis):
    """A model with a mistake in it, and an event that the consumers haven't come to."""
    add(redis, event("n1", 1), event("n1", 2))
    drain(projection())
    spoil()
    add(redis, event("n1", 3), event("n2", 1))


@pytest.mark.parametrize("at", BEFORE)
def test_dying_before_the_swap_nothing_is_changed(half_way, settings, at):
    built = model()
    die(settings, at)

    assert model() == built
    assert cursors() == {"n1": 2}
    time.sleep(0.7)
    drain(projection())
    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1]}
    rebuild(projection())  # drops what was left
    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1]}
    assert not any("wrong" in one for one in model())


@pytest.mark.parametrize("at", WITHIN)
def test_dying_within_the_swap_a_consumer_finishes_it(half_way, settings, redis, at):
    die(settings, at)

    # Not while the one that died may still be at it: the consumers' leases are older than its own.
    database()["outbox_leases"].delete_many({"_id": f"consumer:{GROUP}:notes"})
    keep = Lease(database(), f"rebuild:{GROUP}", 5.0)
    database()["outbox_leases"].delete_one({"_id": f"rebuild:{GROUP}"})
    keep.acquire()
    before = model()
    assert drain(projection())["handled"] == 0
    assert (model(), database()[swap.COLLECTION].count_documents({})) == (before, 1)
    keep.release()

    add(redis, event("n1", 4))
    drain(projection())

    assert seen_by_all() == {"n1": [1, 2, 3, 4], "n2": [1]}
    assert not any("wrong" in one for one in model())
    assert cursors() == {"n1": 4, "n2": 1}


@pytest.mark.parametrize("at", WITHIN)
def test_dying_within_the_swap_the_next_rebuild_finishes_it(half_way, settings, redis, at):
    """Even if it is itself refused, as the history may have expired by then."""
    die(settings, at)
    redis.delete("notes")
    time.sleep(0.7)

    with pytest.raises(RebuildRefused, match="are missing"):
        rebuild(projection())

    assert seen_by_all() == {"n1": [1, 2, 3], "n2": [1]}
    assert not any("wrong" in one for one in model())
    assert cursors() == {"n1": 3, "n2": 1}
    add(redis, event("n1", 4))
    time.sleep(0.7)
    drain(projection())
    assert seen() == [1, 2, 3, 4]


def test_finishing_a_swap_late_sets_nothing_back(redis, monkeypatch):
    """One that was paused within its swap, which a consumer then finished, and wakes up."""
    add(redis, event("n1", 1))
    kept, finish = [], swap.finish

    def twice(written):
        staged = list(database()[written["cursors"]].find())
        finish(written)
        add(redis, event("n1", 2))
        database()[written["cursors"]].insert_many(staged)
        kept.append(written)

    monkeypatch.setattr(swap, "finish", twice)
    rebuild(projection())
    drain(projection())
    finish(kept[0])

    assert (seen(), cursors()) == ([1, 2], {"n1": 2})


def test_interrupted_it_leaves_nothing(redis):
    add(redis, event("n1", 1))

    def interrupted(event, delivery):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(projection(interrupted))


# The command


@pytest.fixture
def declared(monkeypatch):
    """The notes' projection among the declared subscribers."""
    from outbox.discovery import messaging

    monkeypatch.setitem(messaging().subscribes, GROUP, projection())


def test_the_command_says_what_it_did(redis, declared):
    add(redis, event("n1", 1), event("n1", 2), event("n2", 1))
    said = io.StringIO()

    call_command("outbox_rebuild", GROUP, stdout=said)

    assert said.getvalue().startswith(
        "titles: 3 events of 2 aggregates applied, 0 dead letters skipped, in "
    )
    assert seen_by_all() == {"n1": [1, 2], "n2": [1]}


def test_the_command_shows_progress_on_a_terminal(redis, declared, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("outbox.rebuild.model.PAGE", 2)
    add(redis, *(event("n1", number) for number in range(1, 6)))
    shown, piped = Terminal(), io.StringIO()

    call_command("outbox_rebuild", GROUP, stdout=io.StringIO(), stderr=shown)
    call_command("outbox_rebuild", GROUP, stdout=io.StringIO(), stderr=piped)

    assert "\r4 events read" in shown.getvalue()
    assert piped.getvalue() == ""


@pytest.mark.parametrize("name", ["nobody", "letters"])
def test_the_command_names_the_projections_there_are(declared, name):
    with pytest.raises(CommandError, match=f"{name}; there are: customer-orders, titles"):
        call_command("outbox_rebuild", name)


def test_the_command_says_why_it_refuses(redis, declared):
    add(redis, event("n1", 2))
    with pytest.raises(CommandError, match="n1 lacks number 1"):
        call_command("outbox_rebuild", GROUP)


def test_the_command_says_that_a_server_is_away(redis, declared, settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="Redis can't be reached"):
        call_command("outbox_rebuild", GROUP)
