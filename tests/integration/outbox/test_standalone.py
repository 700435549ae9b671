"""A standalone MongoDB will do: no replica set, no transaction but where one is asked for."""

import pytest
from pymongo import MongoClient

from config import embedded
from outbox import (
    TRANSACTIONAL,
    AlreadyHandled,
    ConcurrencyError,
    Subscriber,
    connections,
    context,
    transactions,
)
from outbox.checks import check_transactions
from outbox.discovery import Messaging
from outbox.errors import NoTransactions
from outbox.indexes import ensure_indexes
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.notes import Note, NoteWritten


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


def test_a_save_with_a_handler_within_is_refused_in_words_and_nothing_is_stored(standalone):
    def count(event, note, session):
        standalone["counts"].insert_one({"_id": note.id}, session=session)

    assert not transactions.supported(standalone)
    for handler in (count, lambda event, note, session: None):
        repository = notes.NoteRepository(notes.mapping, {NoteWritten: handler})
        note = Note("n1")
        note.write("one")
        with pytest.raises(NoTransactions, match="standalone MongoDB has no transactions"):
            repository.add(note)
        assert note.recorded_events
    assert standalone.list_collection_names() == []
    note.collect_events()
    note.share("ann")
    repository.add(note)
    assert standalone["notes"].find_one()["version"] == 1


def test_the_checks_name_what_needs_transactions(standalone, monkeypatch):
    subscriber = Subscriber(name="counts", topic="notes", effect=TRANSACTIONAL, handlers={})
    declare(monkeypatch, within={NoteWritten: "notes.messaging"}, subscribes={"counts": subscriber})
    error, warning = check_transactions()
    assert (error.id, warning.id) == ("outbox.E004", "outbox.W002")
    assert "NoteWritten has a handler within its save (notes.messaging)" in error.msg
    assert "subscriber counts is transactional" in warning.msg
    assert "replica set" in error.hint


def declare(monkeypatch, **tables):
    repository = notes.NoteRepository(notes.mapping, dict.fromkeys(tables.get("within", {}), print))
    declared = Messaging(**tables, repositories=[repository])
    monkeypatch.setattr("outbox.checks.messaging", lambda: declared)
