"""The repository's promises, on the real server and on mongomock alike."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError

from outbox import (
    AggregateAlreadyExists,
    AggregateNotFound,
    AlreadyHandled,
    ConcurrencyError,
    MessageIdReused,
    StaleVersion,
    clock,
    context,
)
from outbox.errors import NotAdoptable, StoreUnavailable, UnmappedEvent
from outbox.relay import Relay
from tests import notes
from tests.notes import Note


@pytest.fixture
def repository(database):
    return notes.repository()


@pytest.fixture
def stored(database):
    return lambda: database["notes"].find_one({"_id": "n1"})


def written(repository, text="hello", **fields):
    note = Note("n1", **fields)
    note.write(text)
    repository.add(note)
    return note


def test_adding_stores_state_version_and_messages_in_the_designed_shape(repository, stored):
    with context.use(context.MessageContext(correlation_id="c1")), context.handling("m1"):
        written(repository)
    document = stored()
    outbox = document.pop("outbox")
    pending = outbox.pop("pending")
    assert document == {"_id": "n1", "version": 1, "text": "hello"}
    assert outbox == {
        "partition": 4,  # crc32(b"n1") % 8
        "sequences": {"notes": 1, "notes-internal": 1},
        "handled": ["m1"],
    }
    assert [entry["topic"] for entry in pending] == ["notes", "notes-internal"]
    first = pending[0]
    assert set(first) == {
        "event_id",
        "type",
        "version",
        "topic",
        "sequence",
        "occurred_at",
        "due_at",
        "payload",
        "metadata",
    }
    assert (first["type"], first["version"], first["sequence"]) == ("NotePublished", "1.1", 1)
    assert first["payload"] == '{"noteText":"hello"}'
    assert first["metadata"]["correlationId"] == "c1"
    assert first["metadata"]["causationId"] == "m1"
    assert first["occurred_at"].utcoffset().total_seconds() == 0


def test_saving_counts_the_version_up_and_goes_on_with_the_sequences(repository, stored):
    written(repository)
    for text in ("two", "three"):
        note = repository.get("n1")
        note.write(text)
        repository.save(note)
    document = stored()
    assert (document["version"], document["text"]) == (3, "three")
    assert [e["sequence"] for e in document["outbox"]["pending"] if e["topic"] == "notes"] == [
        1,
        2,
        3,
    ]


def test_an_aggregate_may_be_saved_again_without_loading_it_anew(repository, stored):
    note = written(repository)
    note.write("two")
    repository.save(note)
    note.write("three")
    repository.save(note)
    assert stored()["version"] == note.version == 3
    assert stored()["outbox"]["sequences"]["notes"] == 3


@pytest.mark.parametrize("method", ["insert_one", "update_one"])
def test_what_a_failed_write_would_have_stored_is_stored_by_the_next(
    repository, database, stored, monkeypatch, method
):
    note = written(repository) if method == "update_one" else Note("n1")
    store = repository.save if method == "update_one" else repository.add
    note.write("two")
    with monkeypatch.context() as patch:
        patch.setattr(type(database["notes"]), method, refuse)
        with pytest.raises(StoreUnavailable):
            store(note)
    store(note)
    assert stored()["text"] == "two"
    assert stored()["outbox"]["pending"][-1]["payload"] == '{"noteText":"two"}'
    assert stored()["outbox"]["sequences"]["notes"] == stored()["version"]


def refuse(*args, **kwargs):
    raise AutoReconnect("gone")


def test_what_an_aggregate_changes_in_place_is_stored(repository, stored):
    note = Note("n1", text=["a"])
    repository.add(note)
    note.text.append("b")
    repository.save(note)
    assert stored()["text"] == ["a", "b"]


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), (0.0, -0.0)])
def test_what_python_takes_for_equal_and_bson_doesn_t_is_stored(repository, stored, before, after):
    note = Note("n1", text=before)
    repository.add(note)
    note.text = after
    repository.save(note)
    assert repr(stored()["text"]) == repr(after)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"_id": 7}, "its _id is int"),
        ({"_id": "n1", "version": "1.2"}, "`version` is '1.2'"),
        ({"_id": "n1", "outbox": "theirs"}, "`outbox` is not the outbox's"),
    ],
)
def test_a_document_of_other_origin_that_has_no_room_is_refused_in_words(mongo, found, reason):
    """On the real server only: mongomock projects such documents in a way of its own."""
    mongo["notes"].insert_one({"text": "theirs", **found})
    with pytest.raises(NotAdoptable, match=reason):
        notes.repository().get(found["_id"])


def test_an_id_that_is_no_string_is_refused(repository):
    with pytest.raises(TypeError, match="id is a string, not 7"):
        repository.add(Note(7))


def test_a_unique_index_of_the_applications_own_is_not_taken_for_the_id(mongo):
    mongo["notes"].create_index("text", unique=True)
    repository = notes.repository()
    written(repository)
    with pytest.raises(DuplicateKeyError, match="text"):
        repository.add(Note("n2", "hello"))


def test_a_field_that_went_is_taken_out_of_the_document(repository, stored):
    written(repository, label="old")
    note = repository.get("n1")
    note.label = None
    repository.save(note)
    assert "label" not in stored()


def test_fields_that_the_aggregate_does_not_know_are_left_alone(repository, database, stored):
    written(repository)
    database["notes"].update_one({"_id": "n1"}, {"$set": {"theirs": 1}})
    note = repository.get("n1")
    note.write("two")
    repository.save(note)
    assert stored()["theirs"] == 1


def test_a_message_occurred_when_its_event_did_and_is_due_by_the_servers_clock(
    repository, database, stored
):
    east = timezone(timedelta(hours=2))
    before = clock.now(database)
    note = Note("n1")
    note.write("hello", at=datetime(2025, 6, 28, 12, 0, 0, 999_999, east))
    repository.add(note)
    note.write("two", at=datetime(2025, 6, 28, 10, 0, 1, tzinfo=UTC))
    note.write("three")
    repository.save(note)
    found = [entry for entry in stored()["outbox"]["pending"] if entry["topic"] == "notes"]
    assert [entry["occurred_at"] for entry in found[:2]] == [
        datetime(2025, 6, 28, 10, 0, 0, 999_000, UTC),
        datetime(2025, 6, 28, 10, 0, 1, tzinfo=UTC),
    ]
    assert found[2]["occurred_at"] == found[2]["due_at"]
    assert all(before <= entry["due_at"] <= clock.now(database) for entry in found)


def test_a_save_never_brings_back_what_the_relay_has_pulled_since_the_load(repository, stored):
    written(repository)
    note = repository.get("n1")
    Relay("notes").sweep()
    note.write("two")
    repository.save(note)
    assert [entry["sequence"] for entry in stored()["outbox"]["pending"]] == [2, 2]


def test_the_second_of_two_that_loaded_the_same_version_is_refused(repository, stored):
    written(repository)
    first, second = repository.get("n1"), repository.get("n1")
    first.write("first")
    repository.save(first)
    second.write("second")
    with pytest.raises(ConcurrencyError, match="n1 has changed since version 1"):
        repository.save(second)
    assert (stored()["text"], stored()["version"]) == ("first", 2)


def test_nothing_is_stored_when_an_event_has_no_mapping(repository, stored):
    note = Note("n1")
    note.forget()
    with pytest.raises(UnmappedEvent):
        repository.add(note)
    assert stored() is None


def test_an_unknown_aggregate_and_a_second_of_the_same_id_are_refused(repository):
    with pytest.raises(AggregateNotFound, match="no 'n1' in notes"):
        repository.get("n1")
    written(repository)
    with pytest.raises(AggregateAlreadyExists, match="'n1' in notes already"):
        repository.add(Note("n1"))


def test_an_expected_version_that_is_gone_is_refused(repository):
    written(repository)
    assert repository.get("n1", expected_version=1).version == 1
    with pytest.raises(StaleVersion, match="at version 1, not at the one"):
        repository.get("n1", expected_version=2)


def test_one_message_has_its_effect_once(repository, stored):
    written(repository)
    with context.handling("m2"):
        note = repository.get("n1")
        note.write("two")
        repository.save(note)
        with pytest.raises(AlreadyHandled):
            repository.get("n1")
    assert stored()["version"] == 2


def test_one_message_adds_an_aggregate_once(repository):
    with context.handling("m1"):
        written(repository)
        with pytest.raises(AlreadyHandled):
            repository.add(Note("n1"))
    with context.handling("m2"), pytest.raises(AggregateAlreadyExists):
        repository.add(Note("n1"))


def test_another_message_under_the_same_id_is_told_from_a_repeat(repository):
    with context.handling("m1", fingerprint="a"):
        written(repository)
        with pytest.raises(AlreadyHandled):
            repository.get("n1")
    with context.handling("m1", fingerprint="b"):
        with pytest.raises(MessageIdReused):
            repository.get("n1")
        with pytest.raises(MessageIdReused):
            repository.add(Note("n1"))


def test_a_repeat_is_answered_with_the_aggregate_as_the_message_left_it(repository):
    with context.handling("m1", fingerprint="a"):
        written(repository)
    with context.handling("m2", fingerprint="b"):
        note = repository.get("n1")
        note.write("two")
        repository.save(note)
    assert [(a.version, a.text) for a in (repository.answer("n1", m) for m in ("m1", "m2"))] == [
        (1, "hello"),
        (2, "two"),
    ]
    assert repository.answer("n1", "unknown").version == 2


def test_handled_ids_and_answers_are_kept_up_to_their_limits(repository, stored, settings):
    settings.OUTBOX_HANDLED, settings.OUTBOX_ANSWERS = 3, 2
    written(repository)
    for number in range(5):
        with context.handling(f"m{number}", fingerprint="f"):
            note = repository.get("n1")
            note.write(str(number))
            repository.save(note)
    assert stored()["outbox"]["handled"] == ["m2#f", "m3#f", "m4#f"]
    assert [answer["id"] for answer in stored()["outbox"]["answers"]] == ["m3", "m4"]


@pytest.mark.parametrize("version", [{}, {"version": None}, {"version": 0}])
def test_a_document_without_an_outbox_is_adopted_by_its_first_save(
    repository, database, stored, version
):
    database["notes"].insert_one({"_id": "n1", "text": "from before", **version})
    note = repository.get("n1")
    assert note.version == 0
    note.write("now with messages")
    repository.save(note)
    assert stored()["version"] == 1
    assert stored()["outbox"]["partition"] == 4
    assert Relay("notes").sweep() == 2


def test_the_partition_of_a_document_stays_when_their_number_changes(repository, stored, settings):
    written(repository)
    settings.OUTBOX_PARTITIONS = 3
    note = repository.get("n1")
    note.write("two")
    repository.save(note)
    assert stored()["outbox"]["partition"] == 4


def test_fields_under_the_names_of_the_repository_are_refused(repository, monkeypatch):
    monkeypatch.setattr(notes.NoteRepository, "to_document", lambda self, note: {"version": 1})
    with pytest.raises(ValueError, match=r"returned version.*other names"):
        repository.add(Note("n1"))


def test_saving_what_was_never_loaded_says_what_to_do(repository):
    with pytest.raises(ValueError, match=r"use add\(\)"):
        repository.save(Note("n1"))


def test_each_of_the_repositorys_methods_is_one_request(mongo, commands):
    repository = notes.repository()
    clock.now(mongo)  # measured once in a while
    commands.clear()
    written(repository)
    note = repository.get("n1")
    note.write("two")
    repository.save(note)
    assert [event.command_name for event in commands.events] == ["insert", "find", "update"]


def test_of_many_that_race_for_a_version_one_wins_each_round(mongo):
    """On the real server only: mongomock is not thread-safe."""
    repository = notes.repository()
    written(repository)
    won, start = [], threading.Barrier(8)

    def race(name):
        for _ in range(10):
            start.wait()
            note = repository.get("n1")
            note.write(name)
            start.wait()
            try:
                repository.save(note)
                won.append(note.version)
            except ConcurrencyError:
                pass

    threads = [threading.Thread(target=race, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == list(range(2, 12))


def test_a_store_that_is_away_is_said_in_words(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    with pytest.raises(StoreUnavailable, match="MongoDB"):
        notes.repository().get("n1")
