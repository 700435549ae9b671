"""`outbox_retry` and `outbox_discard`: a stuck message is put right from a terminal."""

import io

import pytest
from django.core.management import CommandError, call_command

from outbox import stuck
from outbox.document import relaying
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.notes import Note


@pytest.fixture(autouse=True)
def _notes(mongo, monkeypatch):
    monkeypatch.setattr(stuck, "collections", lambda: ["notes"])
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)


@pytest.fixture
def refused(mongo):
    """A relay whose broker refused what two notes have to say; it doesn't any more."""
    publisher = InMemoryPublisher()
    publisher.refused.add("notes")
    for id in ("a", "b"):
        note = Note(id)
        note.write("hello")
        notes.repository().add(note)
    relay = Relay("notes", publisher=publisher)
    relay.sweep()
    publisher.refused.clear()
    return relay


def run(*args):
    """What the command says, and the error that it ends with."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(*args, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), err.getvalue(), str(error)
    return out.getvalue(), err.getvalue(), None


def first(mongo, id):
    return relaying.pending(mongo["notes"].find_one({"_id": id}))[0]


def test_all_that_failed_is_tried_again(refused):
    assert refused.sweep() == 0
    assert run("outbox_retry", "--all") == ("2 to be tried at once\n", "", None)
    assert refused.sweep() == 4


def test_only_what_is_stuck_is_tried_again(refused, mongo, settings):
    mongo["notes"].update_one({"_id": "a"}, {"$set": {"outbox.pending.0.attempts": 10}})
    out, _, _ = run("outbox_retry", "--stuck", "--dry-run")
    assert out == (
        f"would retry {first(mongo, 'a')['event_id']}, NotePublished, number 1 of notes a in "
        "notes; failed 10 times: notes is refused\n"
        "1 would be tried again\n"
    )
    assert run("outbox_retry", "--stuck")[0] == "1 to be tried at once\n"
    assert refused.sweep() == 2


def test_one_is_tried_again_by_its_id(refused, mongo):
    event_id = first(mongo, "b")["event_id"]
    assert "1 would be tried again" in run("outbox_retry", event_id, "--dry-run")[0]
    assert refused.sweep() == 0
    assert run("outbox_retry", event_id)[0] == "1 to be tried at once\n"
    assert refused.sweep() == 2


@pytest.mark.parametrize("args", [[], ["x", "--all"], ["--stuck", "--all"]])
def test_what_is_to_be_tried_again_has_to_be_clear(args):
    assert run("outbox_retry", *args)[2] == "Name the ids to act on, or give --stuck or --all."


def test_one_is_discarded_with_a_reason(refused, mongo):
    event_id = first(mongo, "a")["event_id"]
    out, _, _ = run("outbox_discard", event_id, "--reason", "no", "--dry-run")
    assert out == (
        f"would discard {event_id}, NotePublished, number 1 of notes a in notes; "
        "failed 1 times: notes is refused\n1 would be discarded\n"
    )
    assert not relaying.is_tombstone(first(mongo, "a"))
    assert run("outbox_discard", event_id, "--reason", "no")[0] == "1 discarded\n"
    kept = mongo["outbox_discarded"].find_one()
    assert (kept["_id"], kept["reason"]) == (event_id, "no")
    assert kept["discarded_by"]
    assert refused.sweep() == 2


@pytest.mark.parametrize(
    ("command", "what"), [("outbox_retry", "tried again"), ("outbox_discard", "discarded")]
)
def test_what_is_not_pending_is_said_and_the_rest_is_done(refused, mongo, command, what):
    reason = ["--reason", "no"] if command == "outbox_discard" else []
    event_id = first(mongo, "a")["event_id"]
    out, err, error = run(command, "nobody's", event_id, *reason)
    assert out.startswith("1 ")
    assert err == "nobody's isn't pending: it has been published, or was never there.\n"
    assert error == f"1 could not be {what}."
    assert refused.sweep() == 2


@pytest.mark.parametrize("args", [["outbox_retry", "--all"], ["outbox_discard", "x", "--reason=y"]])
def test_a_store_that_is_away_is_said_in_words(settings, args):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    assert "MongoDB can't be reached" in run(*args)[2]
