"""The life log: a line for each batch, and at DEBUG for each message."""

import logging

import pytest

from outbox import context, life_log, operations
from outbox.relay import Relay
from tests import notes
from tests.integration.outbox.consuming import Stage, add, event

SECRET = "what the note says"


@pytest.fixture
def told(caplog):
    """Sets the log's level; then gives what it has told, as (level, line, fields)."""

    def at(level):
        caplog.set_level(level, "outbox.life")
        return lambda: [
            (one.levelname, one.getMessage(), vars(one))
            for one in caplog.records
            if one.name == "outbox.life"
        ]

    return at


def write(*texts):
    note = notes.Note("n1")
    for text in texts:
        note.write(text)
    with context.use(context.MessageContext(correlation_id="talk-1")):
        notes.repository().add(note)
    return note


def test_a_batch_that_is_published_is_one_line(mongo, redis, told):
    lines = told(logging.INFO)
    write("a", "b")

    Relay("notes").sweep()

    [(level, line, fields)] = lines()
    assert level == "INFO"
    assert line.startswith(
        "Published 4 messages of notes to notes (2), notes-internal (2); the oldest after 0."
    )
    assert fields.items() >= {"action": "published", "collection": "notes", "count": 4}.items()
    assert fields["topics"] == {"notes": 2, "notes-internal": 2}
    assert 0 <= fields["seconds"] < 60


def test_a_batch_that_is_handled_is_one_line_and_one_that_came_again_is_another(mongo, redis, told):
    stage, events = Stage("projection"), [event("n1", 1), event("n2", 1)]
    add(redis, *events)
    lines = told(logging.INFO)

    stage.drain()
    add(redis, *events)
    stage.drain()

    handled, again = lines()
    assert handled[1].startswith("titles handled 2 events of notes; the oldest after ")
    assert again[1] == "titles was given 2 events of notes again, to no effect"
    for action, (level, _, fields) in (("handled", handled), ("repeated", again)):
        known = {"action": action, "subscriber": "titles", "topic": "notes", "count": 2}
        assert level == "INFO"
        assert fields.items() >= known.items()


def test_every_step_of_a_message_is_a_line_with_its_facts_as_fields(mongo, redis, told):
    lines = told(logging.DEBUG)
    write(SECRET)
    entry = mongo["notes"].find_one()["outbox"]["pending"][0]
    Relay("notes").sweep()
    stage = Stage("recorded")
    stage.drain()
    redis.xadd("notes", redis.xrange("notes")[0][1])
    stage.drain()

    of_it = [one for one in lines() if one[2].get("event_id") == entry["event_id"]]
    named = f"NotePublished {entry['event_id']} (number 1 of n1 in notes)"
    assert [(level, line.split(" after ")[0]) for level, line, _ in of_it] == [
        ("DEBUG", f"Stored {named}"),
        ("DEBUG", f"Published {named}"),
        ("DEBUG", f"titles handled {named}"),
        ("DEBUG", f"titles was given {named} again"),
    ]
    actions = ("stored", "published", "handled", "repeated")
    for (_, _, fields), action in zip(of_it, actions, strict=True):
        known = {
            "action": action,
            "event_id": entry["event_id"],
            "event_type": "NotePublished",
            "aggregate_id": "n1",
            "topic": "notes",
            "correlation_id": "talk-1",
        }
        assert fields.items() >= known.items()
        assert ("seconds" in fields) == (action in ("published", "handled"))
        where = "collection" if action in ("stored", "published") else "subscriber"
        assert fields[where] == {"collection": "notes", "subscriber": "titles"}[where]


def test_a_message_that_is_discarded_is_a_line_that_names_nobody(mongo, told, monkeypatch):
    monkeypatch.setattr(operations, "collections", lambda: ["notes"])
    lines = told(logging.DEBUG)
    write("a")
    entry = mongo["notes"].find_one()["outbox"]["pending"][0]

    operations.discard([f"{entry['event_id']}/notes/n1"], by="ann", reason="not wanted")

    [line] = [one for one in lines() if one[2]["action"] == "discarded"]
    named = f"NotePublished {entry['event_id']} (number 1 of n1 in notes)"
    assert line[:2] == ("DEBUG", f"Discarded {named}")
    assert not {"by", "reason"} & line[2].keys()


def test_no_line_has_anything_of_a_payload(mongo, redis, told):
    lines = told(logging.DEBUG)
    write(SECRET)
    Relay("notes").sweep()
    Stage("recorded").drain()

    assert len(lines()) > 4
    assert SECRET not in repr(lines())


class Untouchable(list):
    def __iter__(self):
        raise AssertionError("looked at")


@pytest.mark.parametrize(
    ("receiver", "level", "fields"),
    [
        (life_log._stored, logging.INFO, {"messages": Untouchable()}),
        (life_log._discarded, logging.INFO, {"messages": Untouchable()}),
        (life_log._published, logging.WARNING, {"messages": Untouchable(), "at": None}),
        (life_log._handled, logging.WARNING, {"deliveries": Untouchable(), "at": None}),
        (life_log._repeated, logging.WARNING, {"deliveries": Untouchable()}),
    ],
)
def test_what_nobody_wants_to_read_costs_one_question_a_batch(told, receiver, level, fields):
    lines = told(level)
    receiver("notes", **fields)
    assert lines() == []
