"""The three kinds of effect: what is atomic, what is repeated, and what it costs."""

import threading

import pytest
from pymongo import InsertOne, UpdateOne
from pymongo.errors import AutoReconnect

from outbox import EMBEDDED, Command, MessageBus, connections, consumers, inbox
from outbox.errors import NoTransactions, StoreUnavailable
from outbox.indexes import ensure_indexes
from tests import notes
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import (
    Append,
    Copying,
    Stage,
    add,
    child,
    event,
    eventually,
    letters,
    waiting,
)
from tests.integration.outbox.test_standalone import Standalone

pytestmark = pytest.mark.usefixtures("_quick")


class WriteNote(Command, name="WriteNote"):
    note_id: str


@pytest.fixture
def _quick(settings):
    settings.OUTBOX_BACKOFF = 0.01
    settings.OUTBOX_BACKOFF_MAX = 0.02
    settings.OUTBOX_MAX_ATTEMPTS = 2


def entries():
    return connections.database()["outbox_inbox"].count_documents({})


@pytest.mark.parametrize("kind", ["projection", "session"])
@pytest.mark.parametrize("point", ["note", "advance"])
def test_a_transaction_that_fails_in_the_middle_leaves_neither_effect_nor_note(
    mongo, redis, monkeypatch, kind, point
):
    stage = Stage(kind)
    add(redis, event("n1", 1), event("n2", 1))
    original = getattr(inbox, point)

    def cut(*args):
        original(*args)
        raise AutoReconnect("cut off")

    with monkeypatch.context() as broken:
        broken.setattr(inbox, point, cut)
        with pytest.raises(StoreUnavailable):
            stage.drain()
    assert (stage.seen(), entries(), letters()) == ({}, 0, [])
    stage.finish()
    assert (stage.seen(), entries()) == ({"n1": [1], "n2": [1]}, 2)


@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_write_that_is_refused_costs_its_own_event_only(mongo, redis, at):
    mongo[consuming.READ_MODEL].insert_one({"_id": "taken", "seen": []})

    def handler(event, delivery):
        mine = UpdateOne(
            {"_id": delivery.aggregate_id}, {"$push": {"seen": delivery.sequence}}, upsert=True
        )
        clash = delivery.aggregate_id == f"n{at}" and delivery.sequence == 1
        return [mine, InsertOne({"_id": "taken"})] if clash else (mine,)

    add(redis, *(event(f"n{number}", one) for one in (1, 2) for number in range(10)))
    stage = Stage("projection", handlers={notes.NotePublished: handler})
    stage.finish()
    expected = {f"n{number}": [1, 2] for number in range(10)} | {f"n{at}": [2], "taken": []}
    assert stage.seen() == expected
    [letter] = letters()
    assert (letter["aggregate_id"], letter["error_type"]) == (f"n{at}", "BulkWriteError")
    assert entries() == 19


def test_handlers_that_are_slow_together_are_given_several_transactions(mongo, redis, settings):
    settings.OUTBOX_MONGODB_TIMEOUT = 1.0
    stage = Stage("session", lambda event, delivery: threading.Event().wait(0.05))
    add(redis, *(event(f"n{number}", 1) for number in range(30)))
    stage.drain()
    assert stage.seen() == {f"n{number}": [1] for number in range(30)}


def test_a_projections_handler_may_return_nothing(mongo, redis):
    add(redis, event("n1", 1))
    counts = Stage("projection", handlers={notes.NotePublished: lambda *_: None}).drain()
    assert counts["handled"] == 1


@pytest.fixture
def standalone(tmp_path, settings):
    with Standalone(tmp_path / "mongod") as server:
        settings.OUTBOX_MONGODB_URI = server.url
        settings.OUTBOX_MONGODB_DATABASE = "standalone"
        ensure_indexes([notes.repository()])
        yield
        connections.database().client.close()


def test_without_transactions_the_others_work_and_the_transactional_are_refused_by_name(
    standalone, redis
):
    for kind in ("embedded", "recorded"):
        add(redis, event(f"{kind}1", 1), event(f"{kind}1", 2), stream=kind)
        stage = Stage(kind, name=kind, topic=kind)
        stage.drain(kind)
        assert stage.seen() == {f"{kind}1": [1, 2]}
    with pytest.raises(NoTransactions, match="titles: transactional"):
        consumers.Consumers([Stage("session").subscriber])


def test_a_recorded_effect_comes_before_its_note_and_is_repeated_after_a_crash(
    mongo, redis, settings
):
    settings.OUTBOX_LEASE = 0.3
    add(redis, event("n1", 1))
    process = child("""
from outbox import inbox
stage = Stage("recorded", lambda event, delivery: print("sent", flush=True))
inbox.note = lambda *_: os._exit(7)
stage.drain()
""")
    assert process.communicate(timeout=15)[0] == "sent\n"
    assert process.returncode == 7
    assert entries() == 0
    stage = Stage("recorded")
    eventually(lambda: stage.drain() and stage.calls)
    assert stage.calls == [("n1", 1)]


@pytest.mark.parametrize("point", ["note", "advance"])
def test_a_recorded_effect_is_not_repeated_by_the_process_that_could_not_note_it(
    mongo, redis, monkeypatch, point
):
    stage = Stage("recorded")
    add(redis, event("n1", 1), event("n1", 2))
    consumer = stage.consumer()
    with monkeypatch.context() as broken:

        def cut(*_):
            raise AutoReconnect("cut off")

        broken.setattr(inbox, point, cut)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                consumer.drain()
    consumer.drain()
    assert stage.calls == [("n1", 1), ("n1", 2)]


def test_a_command_goes_on_with_the_conversation_of_its_event(mongo, redis):
    metadata = {"correlationId": "c-9", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    one = event("n1", 1, metadata=metadata)
    repository, seen = notes.repository(), []

    def append(command):
        note = notes.Note(command.target)
        note.write(command.text)
        repository.add(note)

    def handler(event, delivery):
        seen.append(delivery.metadata)
        return Append(target="t", text="x")

    add(redis, one)
    stage = Stage("embedded", handlers={notes.NotePublished: handler})
    stage.bus = MessageBus({Append: append})
    stage.drain()
    document = mongo["notes"].find_one({"_id": "t"})
    assert document["outbox"]["handled"] == [one["eventId"]]
    for pending in document["outbox"]["pending"]:
        assert pending["metadata"]["causationId"] == one["eventId"]
        assert pending["metadata"]["correlationId"] == "c-9"
        assert pending["metadata"]["traceparent"] == metadata["traceparent"]


def embedded(*targets, bus=None):
    def handler(event, delivery):
        return [Append(target=target, text=str(delivery.sequence)) for target in targets]

    stage = Stage("embedded", handlers={notes.NotePublished: handler})
    stage.bus = bus or Copying().bus
    return stage


def test_two_commands_for_one_aggregate_from_one_event_are_a_programmers_error(mongo, redis):
    add(redis, event("n1", 1))
    embedded("copy-a", "copy-a").drain()
    [letter] = letters()
    assert (letter["error_type"], letter["attempts"]) == ("MessagingError", 1)
    assert mongo["notes"].find_one({"_id": "copy-a"})["text"] == "1"


def test_a_repeat_after_part_of_the_effect_completes_the_rest(mongo, redis):
    copying, fail = Copying(), ["once"]

    def append(command):
        if command.target == "copy-b" and fail:
            fail.pop()
            raise ValueError
        copying.append(command)

    add(redis, event("n1", 1), event("n1", 2))
    stage = embedded("copy-a", "copy-b", "copy-c", bus=MessageBus({Append: append}))
    stage.finish()
    assert stage.seen() == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    assert letters() == waiting() == []


BESIDE = ("outbox_leases", "outbox_statistics", "outbox_processes", "outbox_deferred")


def test_a_transactional_batch_costs_the_same_few_commands_however_large(mongo, redis, commands):
    asked = []
    for many in (50, 500):
        stage = Stage("projection")
        consumer = stage.consumer()
        consumer.drain()
        add(redis, *(event(f"{many}-{number}", 1) for number in range(many)))
        commands.clear()
        consumer.drain()
        asked.append(
            # Not what the process does beside it, at its own times: clock, lease,
            # statistics, and a look at what is deferred.
            [
                one.command_name
                for one in commands.events
                if one.command_name != "hello"
                and not str(one.command.get(one.command_name)).startswith(BESIDE)
            ]
        )
    assert len(asked[0]) == len(asked[1]) <= 16
    tables = ("outbox_inbox", "outbox_cursors", consuming.READ_MODEL)
    assert sorted(commands.on(*tables)) == [
        ("find", "outbox_cursors"),
        ("insert", "outbox_cursors"),
        ("insert", "outbox_inbox"),
        ("update", consuming.READ_MODEL),
    ]


def test_an_embedded_event_costs_two_commands_and_a_share_of_its_chunks_notes(
    mongo, redis, commands
):
    stage = Stage("embedded")
    add(redis, *(event("n1", number) for number in range(1, 61)))
    commands.clear()
    stage.drain()
    assert len(commands.on("notes")) <= 2 * 60 + 1
    notes_taken = commands.on("outbox_inbox", "outbox_cursors")
    assert len(notes_taken) <= 3 * 2 + 3


@pytest.mark.parametrize(
    ("subscriber", "wanted"),
    [
        (consuming.projection(lambda event, delivery: {"title": "x"}), "write operations"),
        (consuming.projection(lambda event, delivery: event), "write operations"),
        (
            consuming.projection(lambda e, d, s: UpdateOne({}, {}), collection=None),
            "collection",
        ),
        (consuming.recorded(lambda event, delivery: WriteNote(note_id="n")), "EMBEDDED"),
        (consuming.recorded(lambda e, d: "text", effect=EMBEDDED), "a command, several, or None"),
    ],
)
def test_what_a_handler_returns_and_nobody_would_look_at_is_told(mongo, redis, subscriber, wanted):
    """A forgotten `collection` or a wrong effect would be events handled without any effect."""
    add(redis, event("n1", 1))
    consuming.drain(subscriber)
    [letter] = letters()
    assert letter["error_type"] == "MessagingError"
    assert wanted in letter["error"]
    assert letter["attempts"] == 1
