"""Connections that are cut at any byte of a request or an answer: nothing lost, nothing doubled."""

import random
from collections import Counter
from contextlib import suppress

import pytest

from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.relay import Relay
from tests import notes
from tests.faults import checker
from tests.faults.conftest import TOPICS
from tests.faults.consumption import until_consumed
from tests.faults.length import IS_LONG, times
from tests.integration.outbox.consuming import Stage

#: Where a connection is cut: at the first byte, so that the server hears nothing of it, within, or
#: when the server has done it and the client isn't told, or not all of it.
CUTS = {
    "the request is lost": {"request": 0},
    "half the request is lost": {"request": 60},
    "the answer is lost": {"answer": 0},
    "half the answer is lost": {"answer": 7},
}
SHORT = ("half the request is lost", "the answer is lost")


def each(name, values, short=None):
    """Parametrize by name: all of them, or in the short form only some."""
    chosen = {one: values[one] for one in values if IS_LONG or short is None or one in short}
    return pytest.mark.parametrize(name, chosen.values(), ids=chosen.keys())


each_cut = each("cut", CUTS, SHORT)


def write(many, changes=3, prefix="n"):
    """Notes with a few events each."""
    repository = notes.repository()
    for number in range(many):
        note = notes.Note(f"{prefix}{number}")
        for change in range(changes):
            note.write(str(change))
            repository.save(note) if change else repository.add(note)


def entries(redis):
    """How often each event is on a stream."""
    found = checker.streams(redis, TOPICS)
    return Counter(event["eventId"] for events in found.values() for _, event in events)


def attempts(mongo):
    return [
        entry["attempts"]
        for one in mongo["notes"].find()
        for entry in one["outbox"]["pending"]
        if "attempts" in entry
    ]


def sweep():
    """Sweep once; whether the broker and the store were there."""
    try:
        Relay("notes").sweep()
    except (BrokerUnavailable, StoreUnavailable):
        return False
    return True


@pytest.fixture(autouse=True)
def _patient(settings):
    # A driver that is cut off looks for its server again half a second later.
    settings.OUTBOX_LEASE = 3.0


@each("cut", CUTS)
@each("needle", {"one": b"XADD", "several": b"EVAL"}, short=("several",))
def test_a_batch_whose_connection_to_redis_is_cut_is_published_by_the_next_sweep(
    mongo, redis, redis_proxy, account, settings, cut, needle
):
    settings.OUTBOX_PARTITIONS = 1
    # One message of a note is added plainly, several by the script that keeps them in order.
    write(30, changes=2)
    if needle == b"XADD":
        settings.OUTBOX_BATCH = 1
    redis_proxy.cut_at(needle, **cut)
    assert not sweep()
    assert redis_proxy.has_cut.is_set()
    assert attempts(mongo) == []
    # Sent once, whatever became of it: the client must not send it again by itself.
    assert set(entries(redis).values()) <= {1}
    assert not account()
    assert set(entries(redis).values()) <= {1, 2}


def test_connections_to_redis_that_are_cut_at_random_bytes_lose_nothing(
    mongo, redis, redis_proxy, account
):
    for number in range(times(8, 300)):
        write(5, prefix=f"n{number}-")
        where = random.choice(["request", "answer"])
        redis_proxy.cut_at(b"EVAL", **{where: random.randint(0, 3000)})
        sweep()
    redis_proxy.go_on()
    assert attempts(mongo) == []
    assert not account()


@each("cut", CUTS)
def test_a_save_whose_connection_is_cut_is_stored_once(mongo, redis, mongodb_proxy, account, cut):
    repository, note = notes.repository(), notes.Note("n1")
    note.write("first")
    mongodb_proxy.cut_at(b"insert\0", **cut)
    repository.add(note)
    assert mongodb_proxy.has_cut.is_set()
    note.write("second")
    mongodb_proxy.cut_at(b"update\0", **cut)
    repository.save(note)
    assert mongodb_proxy.has_cut.is_set()
    stored = mongo["notes"].find_one()
    assert (stored["version"], stored["text"]) == (2, "second")
    assert [one["sequence"] for one in stored["outbox"]["pending"]] == [1, 1, 2, 2]
    assert not account(acknowledged={"n1": 2})


#: The relay's requests, by something that is in them alone.
REQUESTS = {
    "find": b"outbox.partition",
    "lease": b"outbox_leases",
    "archive": b"dispatched_at",
    "pull": b"$pull",
}


@each_cut
@each("needle", REQUESTS)
def test_a_relay_whose_connection_to_mongodb_is_cut_loses_nothing_and_publishes_once(
    mongo, redis, mongodb_proxy, account, settings, cut, needle
):
    settings.OUTBOX_PARTITIONS = 1
    write(20)
    mongodb_proxy.cut_at(needle, **cut)
    # Also the pull, which pymongo doesn't repeat: what was applied may be applied again.
    assert sweep()
    assert mongodb_proxy.has_cut.is_set()
    assert set(entries(redis).values()) == {1}
    assert mongo["outbox_dispatched"].count_documents({}) == 20 * 3 * 2
    assert not account()


def test_connections_to_mongodb_that_are_cut_at_random_bytes_lose_nothing(
    mongo, redis, mongodb_proxy, account
):
    acknowledged = {}
    repository = notes.repository()
    for number in range(times(8, 300)):
        needle = random.choice([b"insert\0", b"update\0", b"find\0", *REQUESTS.values()])
        where = random.choice(["request", "answer"])
        mongodb_proxy.cut_at(needle, **{where: random.randint(0, 400)})
        note = notes.Note(f"n{number}")
        for change in range(3):
            note.write(str(change))
            with suppress(StoreUnavailable):
                repository.save(note) if note.version else repository.add(note)
                acknowledged[note.id] = note.version
        sweep()
    mongodb_proxy.go_on()
    assert not account(acknowledged=acknowledged)


@pytest.fixture
def published(mongo, redis, account, settings):
    """Some events on the stream, for a consumer."""
    write(8)
    assert not account()
    settings.OUTBOX_MAX_ATTEMPTS = 100


TRANSACTION = {
    "effect": b"note_titles",
    "note": b"outbox_inbox",
    "cursor": b"outbox_cursors",
    "commit": b"commitTransaction",
}


@each_cut
@each("needle", TRANSACTION)
@each("kind", {"projection": "projection", "session": "session"}, short=("projection",))
def test_a_consumer_whose_transaction_is_cut_off_has_its_effects_once(
    mongo, redis, published, mongodb_proxy, account, kind, needle, cut
):
    stage = Stage(kind)
    mongodb_proxy.cut_at(needle, **cut)
    until_consumed(redis, stage)
    assert mongodb_proxy.has_cut.is_set()
    assert not account(effects={"notes": stage.seen()})


@each_cut
def test_a_command_of_a_consumer_that_is_cut_off_is_handled_once(
    mongo, redis, published, mongodb_proxy, account, cut
):
    stage = Stage("embedded")
    mongodb_proxy.cut_at(b"copy-n1", **cut)
    until_consumed(redis, stage)
    assert mongodb_proxy.has_cut.is_set()
    assert not account(effects={"notes": stage.seen()})


@each_cut
@each("needle", {"read": b"XREADGROUP", "ack": b"XACK", "claim": b"XAUTOCLAIM"}, short=("ack",))
@pytest.mark.parametrize("kind", ["projection", "embedded", "recorded"])
def test_a_consumer_whose_connection_to_redis_is_cut_has_its_effects_once(
    mongo, redis, published, redis_proxy, account, kind, needle, cut
):
    stage = Stage(kind)
    redis_proxy.cut_at(needle, **cut)
    until_consumed(redis, stage)
    assert redis_proxy.has_cut.is_set()
    assert not account(effects={"notes": stage.seen()})
