"""Operations: what people do about messages, one by one and by the thousand, once and twice."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from outbox import (
    clock,
    dead_letters,
    deferred,
    discarded,
    discovery,
    dispatched,
    once,
    operations,
    pending,
    pending_actions,
    publishers,
    signals,
)
from outbox.context import new_id
from outbox.discovery import Messaging
from outbox.document import relaying
from outbox.errors import (
    AlreadyDone,
    BrokerUnavailable,
    MessageIdReused,
    PublishError,
    StoreUnavailable,
)
from outbox.indexes import ensure_indexes
from outbox.message_store import Selection
from outbox.publishers.base import Outcome
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay, lease
from tests import notes
from tests.integration.outbox.consuming import (
    Stage,
    add,
    child,
    event,
    letters,
    projection,
    waiting,
)

STUCK = Selection(state="stuck")


@pytest.fixture(autouse=True)
def _declared(monkeypatch, settings):
    """The notes' application in place of the project's."""
    table = Messaging(
        publishes=notes.mapping.routes,
        repositories=[notes.repository()],
        subscribes={"titles": projection()},
    )
    monkeypatch.setattr(discovery, "messaging", lambda: table)
    settings.OUTBOX_STUCK_AFTER = 2
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1e6


@pytest.fixture
def store(database):
    """Of each kind, with the indexes."""
    ensure_indexes(["notes"])
    return database


def write(*ids):
    for id in ids:
        note = notes.Note(id)
        note.write("hello")
        notes.repository().add(note)


def stick(store, *ids, attempts=5):
    """Have the first message of each be stuck, for long."""
    later = clock.now(store) + timedelta(hours=1)
    sets = {f"outbox.pending.{i}.due_at": later for i in range(2)}
    sets["outbox.pending.0.attempts"] = attempts
    for id in ids:
        store["notes"].update_one({"_id": id}, {"$set": sets})


def entries(store, id="a"):
    return store["notes"].find_one({"_id": id})["outbox"]["pending"]


def keys(*ids):
    return [str(one) for id in ids for one in pending.keys(Selection(aggregate_id=id))]


def race(*acts):
    """What becomes of several calls at the same moment: results or errors, in order."""
    ready = threading.Barrier(len(acts))

    def run(act):
        ready.wait(10)
        try:
            return act()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


# -- Retry --


def test_all_that_is_stuck_is_retried_and_nothing_else(store, relay):
    write("a", "b", "c")
    stick(store, "a", "b")
    stick(store, "c", attempts=1)
    done = operations.retry(STUCK, by="kim")
    assert done[:3] == (2, 0, False)
    assert sorted(done.ids) == sorted(keys("a")[:1] + keys("b")[:1])
    assert "attempts" not in entries(store)[0]
    assert relay.sweep() == 4
    assert operations.retry(STUCK, by="kim").count == 0
    assert operations.retry(Selection(state="failed"), by="kim").count == 1


def test_messages_are_named_by_their_keys_or_by_their_event_ids_alone(store, relay):
    write("a/b", "c")
    stick(store, "a/b", "c")
    key, other = keys("a/b")[0], entries(store, "c")[0]["event_id"]
    done = operations.retry([key, key, other, "nobody", "x/notes/y", "x/admin.system/y"], by="kim")
    assert done[:3] == (2, 3, False)
    assert set(done.ids) == {key, f"{other}/notes/c"}
    assert relay.sweep() == 4
    assert operations.retry([key, other], by="kim")[:2] == (0, 2)


def test_what_lies_in_a_collection_that_nobody_declared_is_nobodys_to_change(store):
    write("a")
    stored = store["notes"].find_one_and_delete({})
    store["others"].insert_one(stored)
    key = f"{stored['outbox']['pending'][0]['event_id']}/others/a"
    assert operations.retry([key], by="kim")[:2] == (0, 1)
    assert operations.discard([key], reason="no", by="kim")[:2] == (0, 1)
    assert operations.count("pending", [key]) == (0, True)
    assert store["others"].find_one() == stored


def test_thousands_are_retried_in_a_few_requests(mongo, commands):
    write(*(f"n{i}" for i in range(120)))
    stick(mongo, *(f"n{i}" for i in range(120)))
    told = []
    commands.clear()
    assert operations.retry(STUCK, by="kim", progress=told.append).count == 120
    assert [command for command, _ in commands.on("notes")] == ["aggregate", "find", "update"]
    assert told == [120]


def test_the_oldest_are_acted_on_first_and_what_is_left_is_said(store, monkeypatch):
    write(*(f"n{i}" for i in range(4)))
    stick(store, *(f"n{i}" for i in range(4)))
    for position, id in enumerate(("n3", "n1", "n2", "n0")):
        at = clock.now(store) + timedelta(hours=1, seconds=position)
        due = {f"outbox.pending.{i}.due_at": at for i in range(2)}
        store["notes"].update_one({"_id": id}, {"$set": due})
    done = operations.retry(STUCK, by="kim", most=2)
    assert {one.rpartition("/")[2] for one in done.ids} == {"n3", "n1"}
    assert done.left
    assert operations.count("pending", STUCK, most=1) == (1, False)
    assert operations.count("pending", STUCK) == (2, True)
    named = keys("n0", "n2")
    assert operations.retry(named, by="kim", most=2)[:3] == (2, 0, True)
    monkeypatch.setattr(pending_actions, "PAGE", 1)
    stick(store, *(f"n{i}" for i in range(4)))
    assert operations.retry(STUCK, by="kim", most=None)[:3] == (4, 0, False)


def test_messages_retried_while_relays_are_at_work_are_published_once_in_order(mongo, settings):
    """Retried by two people, all the time."""
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 0.01
    ids = [f"n{i}" for i in range(60)]
    write(*ids)
    publisher, over = InMemoryPublisher(), threading.Event()
    publisher.refused.add("notes")

    def relays():
        while not over.is_set():
            Relay("notes", publisher=publisher).sweep()

    def retries():
        for _ in range(15):
            operations.retry(Selection(state="failed"), by="kim")

    with ThreadPoolExecutor(4) as threads:
        relaying_ = [threads.submit(relays) for _ in range(2)]
        for one in [threads.submit(retries) for _ in range(2)]:
            one.result()
        publisher.refused.clear()
        retries()
        over.set()
        for one in relaying_:
            one.result()
    operations.retry(Selection(), by="kim")
    Relay("notes", publisher=publisher).sweep()
    for stream in ("notes", "notes-internal"):
        found = [json.loads(text)["aggregateId"] for text in publisher.streams[stream]]
        assert sorted(found) == sorted(ids)
    assert mongo["notes"].count_documents({"outbox.pending": {"$ne": []}}) == 0


# -- Discard --


def test_what_is_discarded_is_kept_and_tombstones_are_published(store, relay, publisher, caplog):
    write("a", "b", "c")
    stick(store, "a", "b")
    told = []

    def tell(sender, messages, by, reason, **_):
        told.append((sender, sorted(one.aggregate_id for one in messages), by, reason))

    signals.messages_discarded.connect(tell)
    caplog.set_level(logging.WARNING, "outbox")
    done = operations.discard(STUCK, reason="wrong", by="kim")
    assert done[:3] == (2, 0, False)
    assert sorted(one for said in told for one in said[1]) == ["a", "b"]
    assert {(said[0], *said[2:]) for said in told} == {("notes", "kim", "wrong")}
    kept = discarded.message(done.ids[0].partition("/")[0])
    assert (kept.reason, kept.discarded_by, kept.attempts) == ("wrong", "kim", 5)
    assert (kept.payload, kept.topic, kept.sequence) == ('{"noteText":"hello"}', "notes", 1)
    assert discarded.message("nobody") is None
    assert any(getattr(one, "reason", "") == "wrong" for one in caplog.records)
    assert relay.sweep() == 6
    found = [json.loads(text) for text in publisher.streams["notes"]]
    assert {one["aggregateId"]: one["payload"] for one in found} == {
        "a": None,
        "b": None,
        "c": {"noteText": "hello"},
    }
    assert operations.discard(done.ids, reason="again", by="alex")[:2] == (0, 2)


def test_all_messages_of_one_aggregate_can_be_discarded_at_once(store, relay, publisher):
    write("a")
    assert operations.discard(Selection(aggregate_id="a"), reason="no", by="kim").count == 2
    assert relay.sweep() == 2
    assert all(json.loads(text)["payload"] is None for [text] in publisher.streams.values())


def test_many_are_discarded_under_one_lease_for_each_partition(mongo, settings, commands):
    settings.OUTBOX_PARTITIONS = 2
    write(*(f"n{i}" for i in range(40)))
    stick(mongo, *(f"n{i}" for i in range(40)))
    commands.clear()
    assert operations.discard(STUCK, reason="no", by="kim").count == 40
    on = [command for command, _ in commands.on("notes")]
    assert on == ["aggregate", "find", "find", "update", "find", "update"]
    assert len(commands.on("outbox_leases")) == 4
    assert [command for command, _ in commands.on(discarded.COLLECTION)] == ["insert"] * 2


def test_what_two_discard_at_once_has_one_tombstone_and_one_record(mongo):
    ids = [f"n{i}" for i in range(30)]
    write(*ids)
    stick(mongo, *ids)
    wanted = keys(*ids)[::2]

    def by(name):
        return lambda: operations.discard(wanted, reason=f"says {name}", by=name)

    several = race(by("kim"), by("alex"), by("sam"))
    assert sum(one.count for one in several) == 30
    assert sum(one.missed for one in several) == 60
    assert len({id for one in several for id in one.ids}) == 30
    kept = list(mongo[discarded.COLLECTION].find())
    assert len(kept) == 30
    assert {one["payload"] for one in kept} == {'{"noteText":"hello"}'}
    for one in several:
        for key in one.ids:
            [said] = [each for each in kept if each["_id"] == key.partition("/")[0]]
            assert said["reason"] == f"says {said['discarded_by']}"
    assert all(relaying.is_tombstone(entries(mongo, id)[0]) for id in ids)
    publisher = InMemoryPublisher()
    assert Relay("notes", publisher=publisher).sweep() == 60


def test_a_discard_waits_for_the_relay_and_misses_what_that_has_published(mongo, publisher):
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(InMemoryPublisher):
        def publish(self, groups):
            at_work.set()
            assert go_on.wait(10)
            return publisher.publish(groups)

    write("a")
    wanted = keys("a")
    with ThreadPoolExecutor(2) as threads:
        relayed = threads.submit(Relay("notes", publisher=Slow()).sweep)
        assert at_work.wait(10)
        decided = threads.submit(operations.discard, wanted, reason="no", by="kim")
        go_on.set()
        assert relayed.result() == 2
        assert decided.result()[:2] == (0, 2)
    assert mongo[discarded.COLLECTION].count_documents({}) == 0


def test_a_discard_that_lost_its_lease_takes_it_again_before_it_goes_on(mongo, monkeypatch):
    write("a")
    stick(mongo, "a")
    partition = mongo["notes"].find_one()["outbox"]["partition"]
    monkeypatch.setattr(pending_actions, "PAGE_WITH_PAYLOADS", 1)
    keep, other = discarded.keep, lease("notes", partition)
    lost = []

    def lose(*args, **more):
        keep(*args, **more)
        if not lost:
            mongo["outbox_leases"].update_one({}, {"$set": {"expires_at": datetime(2020, 1, 1)}})
            assert other.acquire()
            lost.append(True)
            # What holds it now leaves when it is asked to.
            threading.Timer(0.3, other.release).start()

    monkeypatch.setattr(discarded, "keep", lose)
    monkeypatch.setattr("outbox.lease.Lease.held", lambda *_, **__: False)
    assert operations.discard(keys("a"), reason="no", by="kim").count == 2
    holders = mongo["outbox_leases"].find_one()
    assert holders["owner"] is None


def test_a_process_killed_while_it_discards_leaves_them_pending_and_to_be_discarded_again(mongo):
    write("a", "b")
    stick(mongo, "a", "b")
    wanted = [entries(mongo, id)[0]["event_id"] for id in ("a", "b")]
    process = child(
        f"""
from outbox import discovery, operations
from outbox.discovery import Messaging
from outbox.document import relaying
from tests import notes
discovery.messaging = lambda: Messaging(repositories=[notes.repository()])
relaying.release = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
operations.discard({wanted!r}, reason="no", by="kim", once="o1")
"""
    )
    process.communicate()
    assert process.returncode == -9
    assert mongo[discarded.COLLECTION].count_documents({}) >= 1
    with pytest.raises(AlreadyDone, match="under way, or broken off") as told:
        operations.discard(wanted, reason="no", by="alex", once="o1")
    assert (told.value.by, told.value.done, told.value.count) == ("kim", None, None)
    assert operations.discard(wanted, reason="no", by="alex", once="o2").count == 2
    assert mongo[discarded.COLLECTION].count_documents({}) == 2


@pytest.mark.parametrize("reason", ["", " \n"])
def test_who_gives_up_says_why(store, reason):
    for discard in (operations.discard, operations.discard_dead_letters):
        with pytest.raises(ValueError, match="Give a reason"):
            discard(Selection(), reason=reason, by="kim", once="o1")
    assert store[once.COLLECTION].count_documents({}) == 0


# -- Replay of what was dispatched --


@pytest.fixture
def memory(monkeypatch):
    """The publisher of replays."""
    publisher = InMemoryPublisher()
    monkeypatch.setattr(publishers, "configured", lambda: publisher)
    return publisher


def places(publisher, topic="notes"):
    found = [json.loads(text) for text in publisher.streams[topic]]
    return [(one["aggregateId"], one["sequenceNumber"]) for one in found]


def archived(*ids, changes=3):
    for id in ids:
        note = notes.Note(id)
        for number in range(changes):
            note.write(f"text {number}")
        notes.repository().add(note)
    Relay("notes", publisher=InMemoryPublisher()).sweep()


def test_what_is_replayed_comes_in_order_and_is_marked(mongo, memory):
    archived("b", "a")
    done = operations.replay(Selection(topic="notes"), by="kim")
    assert done[:3] == (6, 0, False)
    assert places(memory) == [(id, number) for id in ("a", "b") for number in (1, 2, 3)]
    assert all(json.loads(text)["metadata"]["replay"] for text in memory.streams["notes"])
    assert set(done.ids) == {json.loads(text)["eventId"] for text in memory.streams["notes"]}
    assert "notes-internal" not in memory.streams


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"term": "a"}, 3),
        ({"term": "NotePublished", "aggregate_id": "b"}, 3),
        ({"until": datetime.fromisoformat("2020-01-01T00:00Z")}, 0),
        ({"type": "NoteOffered"}, 0),
    ],
)
def test_what_the_list_selects_is_what_is_counted_and_replayed(mongo, memory, fields, expected):
    archived("b", "a")
    selection = Selection(topic="notes", **fields)
    assert len(dispatched.messages(selection).messages) == expected
    assert operations.count("dispatched", selection) == (expected, True)
    preview = operations.preview_replay(selection)
    assert (preview.total, preview.left, len(preview.samples)) == (expected, False, expected)
    assert operations.replay(selection, by="kim")[:3] == (expected, 0, False)
    assert len(memory.streams["notes"]) == expected


def test_named_messages_are_replayed_in_order_and_those_that_expired_are_missed(mongo, memory):
    archived("a")
    ids = [one["_id"] for one in mongo[dispatched.COLLECTION].find({"topic": "notes"})]
    wanted = [*reversed(ids), ids[0], "nobody"]
    assert operations.preview_replay(wanted).total == 3
    assert operations.count("dispatched", wanted) == (3, True)
    done = operations.replay(wanted, by="kim")
    assert done[:3] == (3, 1, False)
    assert sorted(done.ids) == sorted(ids)  # whoever writes a log names these
    assert places(memory) == [("a", 1), ("a", 2), ("a", 3)]
    assert operations.replay(["nobody"], by="kim")[:2] == (0, 1)


def test_the_oldest_are_replayed_first_and_what_is_left_is_said(mongo, memory):
    archived("b")
    archived("a")
    selection = Selection(topic="notes")
    assert operations.count("dispatched", selection, most=4) == (4, False)
    preview = operations.preview_replay(selection, most=4)
    assert (preview.total, preview.left) == (4, True)
    done = operations.replay(selection, by="kim", most=4)
    assert (done.count, done.left, len(done.ids)) == (4, True, 4)
    assert places(memory) == [("a", 1), ("b", 1), ("b", 2), ("b", 3)]
    assert operations.replay(selection, by="kim", most=6).left is False
    assert operations.replay(selection, by="kim", most=None)[:3] == (6, 0, False)


@pytest.mark.parametrize("error", [PublishError("too large"), BrokerUnavailable("gone")])
def test_a_replay_that_has_to_stop_says_how_far_it_came_and_may_be_asked_for_again(
    mongo, memory, monkeypatch, error
):
    archived("a")

    class Refusing:
        def publish(self, groups):
            [group] = groups
            return [Outcome(memory.publish([group[:1]])[0].published, error)]

    with monkeypatch.context() as patched:
        patched.setattr(publishers, "configured", Refusing)
        with pytest.raises(type(error), match="1 message is known to be published"):
            operations.replay(Selection(topic="notes"), by="kim", once="o1")
    assert operations.replay(Selection(topic="notes"), by="kim", once="o1").count == 3


# -- Dead letters --


@pytest.fixture
def quick(settings):
    settings.OUTBOX_BACKOFF = 0.01
    settings.OUTBOX_MAX_ATTEMPTS = 1


@pytest.fixture(params=Stage.KINDS)
def broken(request, mongo, redis, quick):
    """A stage that has handled none of `n0` to `n9`, until it is mended."""

    def poison(event, delivery):
        raise ValueError("poison")

    stage = Stage(request.param, poison)
    add(redis, *(event(f"n{number}", 1) for number in range(10)))
    stage.finish()
    assert len(letters()) == 10
    stage.before = lambda *_: None
    return stage


def test_dead_letters_replayed_twice_at_once_are_handled_once(broken):
    wanted = [letter["_id"] for letter in letters()]

    def replay():
        return operations.replay_dead_letters(wanted, by="kim")

    def drain():
        for _ in range(5):
            broken.drain()

    race(replay, replay, drain, replay)
    operations.replay_dead_letters(wanted, by="kim")
    broken.finish()
    assert broken.seen() == {f"n{number}": [1] for number in range(10)}
    assert {letter["state"] for letter in letters()} == {"replayed"}
    assert operations.replay_dead_letters(wanted, by="kim")[:2] == (0, 10)


@pytest.fixture
def dead(store):
    """Ten dead letters, of each kind of store."""
    return with_dead_letters(store)


def with_dead_letters(store):
    """Ten, which failed one after the other."""
    at = clock.now(store)
    for number in range(10):
        found = event(f"n{number}", 1, eventId=f"e{number}")
        store[dead_letters.COLLECTION].insert_one(
            {
                **{"_id": f"titles:e{number}", "subscriber": "titles", "event_id": f"e{number}"},
                **{"topic": "notes", "stream": "notes", "state": "dead", "type": "NotePublished"},
                **{"text": json.dumps(found), "attempts": 1, "error": "KeyError: x"},
                **{"error_type": "KeyError", "aggregate_id": f"n{number}", "sequence": 1},
                **{"first_failed_at": at, "failed_at": at + timedelta(seconds=number)},
            }
        )
    return store


def states(store):
    return [one["state"] for one in store[dead_letters.COLLECTION].find().sort("failed_at", 1)]


def test_dead_letters_that_match_are_replayed_the_oldest_first(dead):
    selection = Selection(error_type="KeyError", topic="notes")
    assert operations.count("dead_letters", selection, most=3) == (3, False)
    done = operations.replay_dead_letters(selection, by="kim", most=3)
    assert done == (3, 0, True, ["titles:e0", "titles:e1", "titles:e2"], {})
    assert states(dead) == ["replaying"] * 3 + ["dead"] * 7
    assert sorted(one["replays"] for one in waiting()) == done.ids
    assert {one["closed_by"] for one in letters() if one["state"] == "replaying"} == {"kim"}
    assert operations.count("dead_letters", [*done.ids, "titles:e9", "nobody"]) == (4, True)
    assert operations.replay_dead_letters(selection, by="kim", most=None).count == 7
    assert operations.count("dead_letters", selection) == (0, True)


def test_many_dead_letters_take_a_few_requests(dead, commands):
    for act in (
        lambda: operations.replay_dead_letters(Selection(), by="kim"),
        lambda: operations.discard_dead_letters(
            Selection(state="replaying"), reason="no", by="kim"
        ),
    ):
        commands.clear()
        assert act().count == 10
        assert len(commands.on(dead_letters.COLLECTION, "outbox_deferred")) <= 5


def test_what_cannot_be_replayed_is_missed_and_it_is_said_why(dead):
    found = dead[dead_letters.COLLECTION]
    found.update_one({"_id": "titles:e1"}, {"$set": {"text": "poison"}})
    found.update_one({"_id": "titles:e2"}, {"$set": {"subscriber": "gone"}})
    wanted = ["titles:e0", "titles:e1", "titles:e2", "nobody"]
    done = operations.replay_dead_letters(wanted, by="kim", once="o1")
    assert done[:2] == (1, 3)
    assert "It isn't JSON" in done.why["titles:e1"]
    assert "No subscriber is called gone" in done.why["titles:e2"]
    assert states(dead)[:3] == ["replaying", "dead", "dead"]
    with pytest.raises(AlreadyDone) as told:
        operations.replay_dead_letters(wanted, by="kim", once="o1")
    assert told.value.done == done


def test_dead_letters_are_discarded_with_who_and_why_and_their_replays_withdrawn(dead):
    operations.replay_dead_letters(["titles:e0"], by="kim")
    done = operations.discard_dead_letters(Selection(), reason="junk", by="alex", most=5)
    assert (done.count, done.left) == (5, True)
    operations.discard_dead_letters(["titles:e0"], reason="junk", by="alex")
    assert waiting() == []
    assert states(dead) == ["discarded"] * 6 + ["dead"] * 4
    closed = [one for one in letters() if one["state"] == "discarded"]
    assert {(one["closed_by"], one["reason"]) for one in closed} == {("alex", "junk")}
    assert all(one["closed_at"] for one in closed)
    assert operations.discard_dead_letters(done.ids, reason="again", by="kim")[:2] == (0, 5)


@pytest.mark.parametrize("moment", ["before it is deferred", "after it is deferred"])
def test_what_is_discarded_while_it_begins_to_be_replayed_is_not_tried(dead, monkeypatch, moment):
    put = deferred.put_replays

    def discarded_meanwhile(replays, **kwargs):
        if moment == "after it is deferred":
            put(replays, **kwargs)
        assert operations.discard_dead_letters(["titles:e0"], reason="junk", by="alex").count == 1
        if moment == "before it is deferred":
            put(replays, **kwargs)

    monkeypatch.setattr(deferred, "put_replays", discarded_meanwhile)
    done = operations.replay_dead_letters(["titles:e0", "titles:e1"], by="kim")
    assert (done.count, done.missed, done.ids) == (1, 1, ["titles:e1"])
    assert [one["replays"] for one in waiting()] == ["titles:e1"]
    assert states(dead)[:2] == ["discarded", "replaying"]


def test_what_begins_to_be_replayed_while_it_is_discarded_is_not_tried(dead, monkeypatch):
    withdraw = deferred.withdraw

    def replayed_meanwhile(*ids):
        withdraw(*ids)
        monkeypatch.setattr(deferred, "withdraw", withdraw)
        operations.replay_dead_letters(["titles:e0"], by="kim")

    monkeypatch.setattr(deferred, "withdraw", replayed_meanwhile)
    assert operations.discard_dead_letters(["titles:e0"], reason="junk", by="alex").count == 1
    assert waiting() == []
    assert states(dead)[0] == "discarded"


def test_dead_letters_discarded_by_two_at_once_are_discarded_by_one_of_them(mongo):
    with_dead_letters(mongo)
    wanted = [letter["_id"] for letter in letters()]

    def by(name):
        return lambda: operations.discard_dead_letters(wanted, reason="junk", by=name)

    for _ in range(5):
        mongo[dead_letters.COLLECTION].update_many({}, {"$set": {"state": "dead"}})
        first, second = race(by("kim"), by("alex"))
        assert first.count + second.count == 10
        assert sorted(first.ids + second.ids) == sorted(wanted)
        for name, done in (("kim", first), ("alex", second)):
            assert {one["_id"] for one in letters() if one["closed_by"] == name} == set(done.ids)


# -- Once --


def each_operation():
    return [
        lambda **more: operations.retry(Selection(), by="kim", **more),
        lambda **more: operations.discard(Selection(), reason="no", by="kim", **more),
        lambda **more: operations.replay(Selection(), by="kim", **more),
        lambda **more: operations.replay_dead_letters(Selection(), by="kim", **more),
        lambda **more: operations.discard_dead_letters(Selection(), reason="no", by="kim", **more),
    ]


@pytest.mark.parametrize("number", range(5))
def test_under_one_id_an_operation_is_done_once_and_the_second_is_told_what_came_of_it(
    store, memory, number
):
    write("a")
    act = each_operation()[number]
    done = act(once="o1")
    with pytest.raises(AlreadyDone) as told:
        act(once="o1")
    error = told.value
    assert (error.by, error.done, error.count) == ("kim", done, done.count)
    assert abs(error.at - clock.now(store)) < timedelta(minutes=1)
    assert f"{done.count} done" in str(error)
    act(once="o2")
    act()


@pytest.mark.parametrize("number", range(5))
def test_an_id_does_not_stand_for_two_different_operations(store, memory, number):
    act = each_operation()[number]
    act(once="o1", fingerprint="a")
    with pytest.raises(AlreadyDone):
        act(once="o1", fingerprint="a")
    with pytest.raises(MessageIdReused):
        act(once="o1", fingerprint="b")


def test_under_one_id_at_the_same_moment_there_is_one_effect(mongo, memory):
    archived("a")
    for _ in range(10):
        memory.streams.clear()
        operation_id = new_id()

        def act(operation_id=operation_id):
            return operations.replay(Selection(topic="notes"), by="kim", once=operation_id)

        several = race(*[act] * 4)
        refused = [one for one in several if isinstance(one, AlreadyDone)]
        [done] = [one for one in several if one not in refused]
        assert (done.count, len(refused)) == (3, 3)
        assert len(memory.streams["notes"]) == 3


def test_what_was_done_is_remembered_for_a_day(mongo):
    ensure_indexes(["notes"])
    operations.discard(Selection(), reason="no", by="kim", once="o1")
    [index] = [
        one
        for one in mongo[once.COLLECTION].index_information().values()
        if "expireAfterSeconds" in one
    ]
    assert index["expireAfterSeconds"] == 24 * 3600
    [kept] = mongo[once.COLLECTION].find()
    assert (kept["_id"], kept["action"], kept["by"], kept["reason"]) == (
        "o1",
        "discard",
        "kim",
        "no",
    )


def test_an_operation_that_failed_may_be_asked_for_again_under_its_id(store, monkeypatch):
    def away(*_, **__):
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(pending_actions, "release", away)
        with pytest.raises(StoreUnavailable):
            operations.retry(Selection(), by="kim", once="o1")
    assert operations.retry(Selection(), by="kim", once="o1").count == 0


def test_when_the_store_is_away_every_operation_says_so(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    # Each waits for the server in its turn.
    for act in each_operation():
        with pytest.raises(StoreUnavailable):
            act()
    with pytest.raises(StoreUnavailable):
        operations.retry(Selection(), by="kim", once="o1")
    for kind in ("pending", "dispatched", "dead_letters"):
        with pytest.raises(StoreUnavailable):
            operations.count(kind, Selection())


def test_named_messages_are_counted_if_they_are_there(store):
    write("a", "b")
    named = [*keys("a"), entries(store, "b")[0]["event_id"], "nobody", "x/notes/a"]
    assert operations.count("pending", named) == (3, True)
    assert operations.count("pending", Selection(topic="notes"), most=None) == (2, True)
