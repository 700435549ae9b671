"""A standalone MongoDB will do: no replica set, no transaction."""

import pytest
from pymongo import MongoClient

from config import embedded
from outbox import AlreadyHandled, ConcurrencyError, connections, context
from outbox.indexes import ensure_indexes
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.notes import Note


class Standalone(embedded.MongoDB):
    """A `mongod` that is no member of any set."""

    @property
    def url(self):
        return f"mongodb://127.0.0.1:{self.port}/"

    def _command(self):
        command = super()._command()
        at = command.index("--replSet")
        return command[:at] + command[at + 2 :]

    def _ready(self):
        with MongoClient(self.url, timeoutMS=2000) as client:
            return bool(client.admin.command("ping")["ok"])


@pytest.fixture
def standalone(tmp_path, settings):
    with Standalone(tmp_path / "mongod") as server:
        settings.OUTBOX_MONGODB_URI = server.url
        settings.OUTBOX_MONGODB_DATABASE = "standalone"
        yield connections.database()
        connections.database().client.close()


def test_messages_are_stored_once_and_relayed_in_order(standalone):
    assert "setName" not in standalone.client.admin.command("hello")
    repository, publisher = notes.repository(), InMemoryPublisher()
    ensure_indexes([repository])
    note = Note("n1")
    note.write("one")
    repository.add(note)
    stale = repository.get("n1")
    with context.handling("m2"):
        note = repository.get("n1")
        note.write("two")
        repository.save(note)
        with pytest.raises(AlreadyHandled):
            repository.get("n1")
    stale.write("too late")
    with pytest.raises(ConcurrencyError):
        repository.save(stale)
    assert Relay("notes", publisher=publisher).sweep() == 4
    assert [len(texts) for texts in publisher.streams.values()] == [2, 2]
    assert standalone["outbox_dispatched"].count_documents({}) == 4
    assert standalone["notes"].find_one()["outbox"]["pending"] == []
