"""Handlers within a save: their effect is stored with the change, or neither is."""

import threading
import uuid

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError

from outbox import (
    AggregateAlreadyExists,
    AlreadyHandled,
    ConcurrencyError,
    DomainError,
    clock,
    connections,
    context,
    transactions,
)
from outbox.errors import MessagingError, StoreUnavailable
from tests import notes
from tests.notes import Note, NoteRead, NoteShared, NoteWritten


class Ledger:
    """Keeps count of what was written, in another collection."""

    def __init__(self):
        self.sessions, self.failure = [], None

    def note(self, event, note, session):
        self.sessions.append(session)
        ledger = connections.collection("ledger")
        text = getattr(event, "text", "")
        ledger.update_one(
            {"_id": note.id}, {"$push": {"texts": text}}, upsert=True, session=session
        )
        if self.failure:
            raise self.failure

    def texts(self, id="n1"):
        found = connections.collection("ledger").find_one({"_id": id})
        return found and found["texts"]


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def repository(ledger):
    return notes.NoteRepository(notes.mapping, within={NoteWritten: ledger.note})


def written(repository, text="one"):
    note = Note("n1")
    note.write(text)
    repository.add(note)
    return note


def stored():
    return connections.collection("notes").find_one({"_id": "n1"})


def test_the_effect_is_there_with_the_change(database, repository, ledger):
    note = written(repository)
    note.write("two")
    repository.save(note)
    assert ledger.texts() == ["one", "two"]
    assert (stored()["version"], stored()["text"], note.version) == (2, "two", 2)
    assert len(stored()["outbox"]["pending"]) == 4


def test_what_a_handler_raises_stores_nothing_and_the_aggregate_can_be_saved_again(
    mongo, repository, ledger
):
    note = Note("n1")
    note.write("one")
    ledger.failure = DomainError("not today")
    with pytest.raises(DomainError, match="not today"):
        repository.add(note)
    assert (stored(), ledger.texts(), note.version) == (None, None, 0)
    ledger.failure = None
    repository.add(note)
    note.write("two")
    ledger.failure = DomainError("not today")
    with pytest.raises(DomainError, match="not today"):
        repository.save(note)
    assert (stored()["version"], ledger.texts(), note.version) == (1, ["one"], 1)
    assert note.recorded_events == (NoteWritten(text="two"),)
    ledger.failure = None
    repository.save(note)
    assert (stored()["version"], ledger.texts()) == (2, ["one", "two"])
    assert stored()["outbox"]["sequences"] == {"notes": 2, "notes-internal": 2}


def test_on_mongomock_what_a_handler_raises_still_stores_no_change(ledger, repository, settings):
    settings.OUTBOX_MONGODB_DATABASE = f"unit_{uuid.uuid4().hex}"
    ledger.failure = DomainError("not today")
    with pytest.raises(DomainError):
        written(repository)
    assert (stored(), ledger.sessions) == (None, [None])


def test_only_a_save_that_records_such_an_event_is_a_transaction(
    mongo, repository, ledger, commands
):
    clock.now(mongo)
    note = Note("n1")
    note.share("ann")
    commands.clear()
    repository.add(note)
    note.share("bob")
    repository.save(note)
    assert [event.command_name for event in commands.events] == ["insert", "update"]
    assert not any("autocommit" in event.command for event in commands.events)
    commands.clear()
    note.write("one")
    repository.save(note)
    assert [event.command_name for event in commands.events] == [
        "update",  # the ledger's
        "update",
        "commitTransaction",
    ]
    first, second, commit = [event.command for event in commands.events]
    assert all(command["autocommit"] is False for command in (first, second, commit))
    assert first["readConcern"]["level"] == "snapshot"
    assert commit["writeConcern"]["w"] == "majority"
    commands.clear()
    another = Note("n2")
    another.write("one")
    repository.add(another)
    sent = [(event.command_name, event.command["autocommit"]) for event in commands.events]
    assert sent == [("update", False), ("insert", False), ("commitTransaction", False)]


def test_handlers_run_in_order_for_each_event_with_the_aggregate_and_the_session(database):
    seen = []

    def handler(name):
        return lambda event, note, session: seen.append((name, event, note, session))

    within = {NoteWritten: [handler("a"), handler("b")], NoteShared: handler("c"), NoteRead: ()}
    repository = notes.NoteRepository(notes.mapping, within)
    note = Note("n1")
    note.write("one")
    note.share("ann")
    note.read()
    repository.add(note)
    events = (NoteWritten(text="one"), NoteShared(with_whom=("ann",)))
    assert [each[:3] for each in seen] == [
        ("a", events[0], note),
        ("b", events[0], note),
        ("c", events[1], note),
    ]
    assert len({id(each[3]) for each in seen}) == 1


def test_the_handlers_are_called_before_the_write(database):
    found = []
    handler = lambda event, note, session: found.append(stored())  # noqa: E731
    written(notes.NoteRepository(notes.mapping, {NoteWritten: handler}))
    assert found == [None]
    assert stored()["version"] == 1


def test_the_second_of_two_that_loaded_the_same_version_is_refused_with_its_effect(
    mongo, repository, ledger
):
    written(repository)
    first, second = repository.get("n1"), repository.get("n1")
    first.write("first")
    repository.save(first)
    second.write("second")
    with pytest.raises(ConcurrencyError, match="n1 has changed since version 1"):
        repository.save(second)
    assert ledger.texts() == ["one", "first"]


def test_a_second_aggregate_of_the_same_id_is_refused_with_its_effect(mongo, repository, ledger):
    with context.handling("m1"):
        written(repository)
        with pytest.raises(AlreadyHandled):
            written(repository)
    with pytest.raises(AggregateAlreadyExists, match="'n1' in notes already"):
        written(repository)
    assert ledger.texts() == ["one"]


def test_a_duplicate_of_the_handlers_own_is_not_taken_for_the_aggregates(mongo):
    def insert(event, note, session):
        connections.collection("ledger").insert_one({"_id": note.id}, session=session)

    repository = notes.NoteRepository(notes.mapping, {NoteWritten: insert})
    connections.collection("ledger").insert_one({"_id": "n1"})
    with pytest.raises(DuplicateKeyError, match="ledger"):
        written(repository)
    assert stored() is None


def test_a_handler_that_changes_the_aggregate_is_refused(database):
    def record(event, note, session):
        note.read()

    def change(event, note, session):
        note.text = "mine"

    for handler in (record, change):
        with pytest.raises(MessagingError, match="within the save of n1 changed it"):
            written(notes.NoteRepository(notes.mapping, {NoteWritten: handler}))
    assert stored() is None


def test_of_many_at_once_each_takes_its_turn_and_no_effect_is_lost(mongo):
    """All of them change one document of the handler's: they are in each other's way."""
    connections.collection("total").insert_one({"_id": "all", "notes": 0})
    runs = []

    def count(event, note, session):
        runs.append(note.id)
        total = connections.collection("total")
        known = total.find_one({"_id": "all"}, session=session)["notes"]
        total.update_one({"_id": "all"}, {"$set": {"notes": known + 1}}, session=session)

    repository = notes.NoteRepository(notes.mapping, {NoteWritten: count})
    start = threading.Barrier(6)

    def add(name):
        for number in range(5):
            note = Note(f"{name}-{number}")
            note.write("one")
            start.wait()
            repository.add(note)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert connections.collection("total").find_one()["notes"] == 30
    assert mongo["notes"].count_documents({}) == 30
    assert len(runs) > 30  # they were in each other's way


def test_two_that_add_the_same_aggregate_at_once_are_told_apart(mongo, repository, ledger):
    inside, go_on, results = threading.Event(), threading.Event(), []
    other = notes.NoteRepository(notes.mapping, within={NoteWritten: lambda *args: wait()})

    def wait():
        inside.set()
        go_on.wait(5)

    def late():
        try:
            written(other, "late")
        except AggregateAlreadyExists:
            results.append("refused")

    thread = threading.Thread(target=late)
    thread.start()
    inside.wait(5)
    written(repository, "early")
    go_on.set()
    thread.join()
    assert results == ["refused"]
    assert stored()["text"] == "early"


woken = []


def note_wake(collection, partition):
    found = connections.collection(collection).find_one({"_id": "n1"})
    woken.append(found and found["version"])


def test_the_wake_comes_after_the_commit_and_not_at_all_without_one(
    mongo, repository, ledger, settings
):
    woken.clear()
    settings.OUTBOX_WAKE = f"{__name__}.note_wake"
    ledger.failure = DomainError("no")
    with pytest.raises(DomainError):
        written(repository)
    assert woken == []
    ledger.failure = None
    written(repository)
    assert woken == [1]


def test_a_transient_failure_has_the_handlers_run_again(mongo, repository, ledger):
    error = AutoReconnect("gone")
    error._add_error_label("TransientTransactionError")
    runs = iter([error, error, None])
    write = ledger.note

    def failing(event, note, session):
        write(event, note, session)
        if failure := next(runs):
            raise failure

    written(notes.NoteRepository(notes.mapping, {NoteWritten: failing}))
    assert len(ledger.sessions) == 3
    assert ledger.texts() == ["one"]


def test_repeats_end_when_the_time_of_one_operation_is_up(mongo, settings, ledger, repository):
    settings.OUTBOX_MONGODB_TIMEOUT = 1.0
    ledger.failure = AutoReconnect("gone")
    ledger.failure._add_error_label("TransientTransactionError")
    with pytest.raises(StoreUnavailable):
        written(repository)
    assert 2 < len(ledger.sessions) < 100
    assert stored() is None


def test_a_transaction_returns_what_its_callback_does_and_is_all_or_nothing(mongo):
    things = mongo["things"]

    def two(session):
        things.insert_one({"_id": 1}, session=session)
        things.insert_one({"_id": 2}, session=session)
        assert things.count_documents({}) == 0
        return things.count_documents({}, session=session)

    def failing(session):
        things.insert_one({"_id": 3}, session=session)
        raise ZeroDivisionError

    assert transactions.run(two) == 2
    with pytest.raises(ZeroDivisionError):
        transactions.run(failing)
    assert things.count_documents({}) == 2


def test_a_replica_set_has_transactions_and_mongomock_none(mongo, settings):
    assert transactions.supported(mongo)
    settings.OUTBOX_MONGODB_URI = "mongomock://"
    assert not transactions.supported(connections.database())
    assert transactions.run(lambda session: session) is None


def test_a_store_that_is_away_is_said_in_words_and_soon(settings, repository):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    with pytest.raises(StoreUnavailable, match="MongoDB"):
        transactions.run(lambda session: connections.collection("a").find_one(session=session))
