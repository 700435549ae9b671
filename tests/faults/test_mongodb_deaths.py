"""A MongoDB that is killed while a relay is between two of its steps, and comes back."""

import json

import pytest

from outbox import batch, connections
from outbox.indexes import ensure_indexes
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.faults.length import times
from tests.faults.servers import FailingMongoDB


@pytest.fixture
def mortal(tmp_path, settings):
    """A server of this test's own: others go on using theirs."""
    with FailingMongoDB(tmp_path / "mongod") as server:
        settings.OUTBOX_MONGODB_URI = server.url
        settings.OUTBOX_MONGODB_DATABASE = "mortal"
        ensure_indexes([notes.repository()])
        yield server
        connections.database().client.close()


def test_what_was_published_is_in_the_archive_though_mongodb_died_before_the_pull(
    mortal, monkeypatch
):
    """The pull comes after the server is back: nothing tells the relay of the death."""
    pull, deaths = batch._pull, times(2, 20)

    def dying(*args):
        nonlocal deaths
        if deaths:
            deaths -= 1
            mortal.process.kill()
            mortal.start()
        return pull(*args)

    monkeypatch.setattr(batch, "_pull", dying)
    repository, publisher = notes.repository(), InMemoryPublisher()
    relay = Relay("notes", publisher=publisher)
    while deaths:
        for number in range(3):
            note = notes.Note(f"{deaths}-{number}")
            note.write("hello")
            repository.add(note)
        # Not `sweep`, whose threads end: the server would with the one that has started it.
        for partition in list(relay.due_partitions()):
            relay.sweep_partition(partition)
    published = {
        json.loads(text)["eventId"] for texts in publisher.streams.values() for text in texts
    }
    database = connections.database()
    assert database["notes"].count_documents({"outbox.pending.0": {"$exists": True}}) == 0
    assert {found["_id"] for found in database["outbox_dispatched"].find()} == published
    assert published
