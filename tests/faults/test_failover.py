"""A replica set of three whose primary steps down or dies: what was acknowledged is there."""

import threading
import uuid
from contextlib import ExitStack, suppress

import pytest
from pymongo import MongoClient

from outbox import batch
from outbox.errors import StoreUnavailable
from outbox.relay import Relay
from outbox.relays import Relays
from tests import notes
from tests.faults.checker import streams
from tests.faults.consumption import relaying
from tests.faults.length import times
from tests.faults.replica_set import ReplicaSet
from tests.faults.writers import Writers
from tests.integration.outbox.consuming import eventually


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory):
    with ReplicaSet(tmp_path_factory.mktemp("set")) as found:
        yield found


@pytest.fixture(scope="module")
def mongodb_uri(replica_set):
    return replica_set.url


@pytest.fixture
def _database(replica_set):
    """One for each test: for a moment a new primary reads as a majority had it a second before, so
    that a relay publishes again what has been published; and what a test before has left.
    """
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with MongoClient(replica_set.url) as client:
        client.drop_database(name)


@pytest.fixture(autouse=True)
def _whole(replica_set, mongo):
    yield
    replica_set.until_whole()


def write(note_id):
    note = notes.Note(note_id)
    note.write("hello")
    notes.repository().add(note)


def clear_lease(mongo):
    """The lease of the relay that couldn't give it back: nobody is to wait for its end."""
    mongo["outbox_leases"].delete_many({})


@pytest.mark.parametrize("how", ["step_down", "kill_primary"])
def test_nothing_that_was_acknowledged_is_lost_when_the_primary_goes_under_load(
    mongo, redis, replica_set, account, how
):
    with relaying(), Writers() as writers:
        for _ in range(times(1, 20)):
            writers.until(2)
            getattr(replica_set, how)()
            writers.until(2)
            replica_set.until_whole()
    assert not account(acknowledged=writers.acknowledged)


def test_a_relay_that_watches_goes_on_after_a_failover(mongo, redis, replica_set, account):
    relays = Relays([Relay("notes")])
    relays.start()
    try:
        eventually(lambda: relays.is_watching)
        with Writers() as writers:
            writers.until(1)
            replica_set.step_down()
            writers.until(2)
            replica_set.until_whole()
        eventually(lambda: relays.is_watching, within=20)
        write("last")
        eventually(lambda: not mongo["notes"].find_one({"outbox.pending.0": {"$exists": True}}))
    finally:
        assert relays.stop()
    assert not account(acknowledged=writers.acknowledged)


def test_a_save_that_only_the_primary_has_is_not_acknowledged(
    mongo, redis, replica_set, account, settings
):
    settings.OUTBOX_MONGODB_TIMEOUT = 2.0
    write("n1")
    with replica_set.secondaries_behind(), pytest.raises(StoreUnavailable):
        write("n2")
    replica_set.until_whole()
    assert not account(acknowledged={"n1": 1})


def test_an_event_that_only_the_primary_has_is_not_published(
    mongo, redis, replica_set, account, settings, monkeypatch
):
    """It may be gone with the primary; then nobody could say where the event came from."""
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_MONGODB_TIMEOUT = 1, 2.0
    settings.OUTBOX_LEASE = 60.0
    primary, read, saving = replica_set.primary, batch.read, []

    def save():
        with suppress(StoreUnavailable):
            write("n2")

    def is_on_the_primary():
        with primary.client() as client:
            return client[mongo.name]["notes"].find_one({"_id": "n2"})

    def read_meanwhile(documents, partition):
        # Only now: the relay's lease had to be stored by a majority.
        if not saving:
            behind.enter_context(replica_set.secondaries_behind())
            saving.append(threading.Thread(target=save))
            saving[0].start()
            eventually(is_on_the_primary)
        return read(documents, partition)

    write("n1")
    monkeypatch.setattr(batch, "read", read_meanwhile)
    with ExitStack() as behind:
        with pytest.raises(StoreUnavailable):  # nobody else has the pull
            Relay("notes").sweep()
        assert is_on_the_primary()
        assert replica_set.kill_primary() is primary
    saving[0].join()
    replica_set.until_whole()
    assert mongo["notes"].distinct("_id") == ["n1"]
    clear_lease(mongo)
    assert not account()
    assert {event["aggregateId"] for _, event in streams(redis, ["notes"])["notes"]} == {"n1"}
