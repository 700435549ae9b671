"""What waits in a document is bounded: a broker that is away too long is told of in time."""

import pytest
from bson import encode

from outbox import connections
from outbox.errors import ConcurrencyError, OutboxFull
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.integration.outbox.consuming import Stage, event, letters
from tests.integration.outbox.consuming import add as add_to_stream
from tests.notes import Note


def add(id="a", text="hello"):
    note = Note(id)
    note.write(text)
    notes.repository().add(note)
    return note


def rewrite(id="a", text="again"):
    note = notes.repository().get(id)
    note.write(text)
    notes.repository().save(note)


def stored(database):
    return database["notes"].find_one({"_id": "a"})


def test_no_more_messages_wait_in_a_document_than_are_allowed(database, settings):
    settings.OUTBOX_MAX_PENDING = 5
    add()
    rewrite()
    before = stored(database)
    # Four wait; each save brings two.
    with pytest.raises(OutboxFull, match="no room for 2 more messages beside the 4 that wait"):
        rewrite()
    assert stored(database) == before
    settings.OUTBOX_MAX_PENDING = 6
    rewrite()
    with pytest.raises(OutboxFull):
        rewrite()


def test_there_is_room_again_when_the_relay_has_caught_up(mongo, settings):
    settings.OUTBOX_MAX_PENDING = 2
    add()
    with pytest.raises(OutboxFull):
        rewrite()
    assert Relay("notes", publisher=InMemoryPublisher()).sweep() == 2
    rewrite()


def test_a_save_without_messages_needs_no_room(database, settings):
    settings.OUTBOX_MAX_PENDING = 2
    add()
    note = notes.repository().get("a")
    note.label = "quiet"
    notes.repository().save(note)
    assert stored(database)["label"] == "quiet"


def test_an_aggregate_refused_for_room_can_be_saved_again_with_its_events(mongo, settings):
    settings.OUTBOX_MAX_PENDING = 2
    note = add()
    note.write("again")
    with pytest.raises(OutboxFull):
        notes.repository().save(note)
    Relay("notes", publisher=InMemoryPublisher()).sweep()
    notes.repository().save(note)
    assert [entry["sequence"] for entry in stored(mongo)["outbox"]["pending"]] == [2, 2]


def test_a_new_document_takes_no_more_either(database, settings):
    settings.OUTBOX_MAX_PENDING = 1
    with pytest.raises(OutboxFull, match="OUTBOX_MAX_PENDING is 1"):
        add()
    assert stored(database) is None


def test_a_command_with_more_messages_than_a_document_takes_is_refused(database, settings):
    settings.OUTBOX_MAX_PENDING = 2
    add()
    connections.collection("notes").update_one({}, {"$set": {"outbox.pending": []}})
    note = notes.repository().get("a")
    note.share("x", "y", "z")
    with pytest.raises(OutboxFull):
        notes.repository().save(note)


def test_no_document_grows_past_the_size_that_is_allowed(mongo, settings):
    settings.OUTBOX_MAX_DOCUMENT_SIZE = 100_000
    add(text="x" * 10_000)
    with pytest.raises(OutboxFull, match="OUTBOX_MAX_DOCUMENT_SIZE is 100000 bytes"):
        for _ in range(20):
            rewrite(text="x" * 10_000)
    size = len(encode(stored(mongo)))
    assert 70_000 < size <= 100_000
    with pytest.raises(OutboxFull):
        add("b", text="x" * 100_000)


def test_what_the_save_itself_adds_is_counted(mongo, settings):
    settings.OUTBOX_MAX_DOCUMENT_SIZE = 100_000
    add()
    note = notes.repository().get("a")
    note.label = "x" * 99_000
    note.write("again")
    with pytest.raises(OutboxFull):
        notes.repository().save(note)
    assert "label" not in stored(mongo)


def test_it_is_told_before_the_server_refuses(mongo, settings):
    """With the settings as they are: messages of 2 MB each, one after the other."""
    add(text="x" * 2_000_000)
    with pytest.raises(OutboxFull):
        for _ in range(8):
            rewrite(text="x" * 2_000_000)
    assert Relay("notes", publisher=InMemoryPublisher()).sweep() > 0
    rewrite()


def test_who_lost_a_race_is_told_so_and_not_that_it_is_full(database, settings):
    settings.OUTBOX_MAX_PENDING = 4
    note = add()
    rewrite()
    note.write("too late")
    with pytest.raises(ConcurrencyError):
        notes.repository().save(note)


def test_a_save_with_room_costs_one_request(mongo, commands):
    add()
    note = notes.repository().get("a")
    note.write("again")
    commands.clear()
    notes.repository().save(note)
    assert commands.on("notes") == [("update", "notes")]


def test_an_event_whose_command_meets_a_full_document_waits_and_burns_no_attempts(
    mongo, redis, settings
):
    settings.OUTBOX_MAX_ATTEMPTS = 2
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BREAKER_RESET = 0.01
    full = [OutboxFull()] * 8

    def before(event, delivery):
        if full:
            raise full.pop()

    stage = Stage("embedded", before)
    add_to_stream(redis, event("n1", 1))
    counts = stage.finish()
    assert not full
    assert stage.seen() == {"n1": [1]}
    assert counts["failures"] == 0
    assert not letters()


def test_one_full_document_holds_up_nobody_else(mongo, redis, settings):
    settings.OUTBOX_BREAKER_FAILURES = 2

    def before(event, delivery):
        if delivery.aggregate_id == "full":
            raise OutboxFull()

    stage = Stage("embedded", before)
    ids = [f"n{i}" for i in range(20)]
    events = [event("full", i + 1) for i in range(20)] + [event(one, 1) for one in ids]
    add_to_stream(redis, *events)
    stage.drain()
    assert stage.seen() == {one: [1] for one in ids}
    add_to_stream(redis, *(event(one, 2) for one in ids))
    stage.drain()
    assert stage.seen() == {one: [1, 2] for one in ids}
