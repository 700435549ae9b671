"""`outbox_retry` and `outbox_discard`: a stuck message is put right from a terminal."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from outbox.discovery import messaging
from outbox.document import relaying
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes
from tests.notes import Note

pytestmark = pytest.mark.usefixtures("admin_log")


@pytest.fixture(autouse=True)
def _notes(mongo, monkeypatch):
    """The notes are all that there is."""
    declared = messaging().repositories
    kept = declared[:]
    declared[:] = [notes.repository()]
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    yield
    declared[:] = kept


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


def test_only_what_is_selected_is_tried_again(refused):
    for options in (["--type", "Other"], ["--topic", "other"]):
        assert run("outbox_retry", "--all", *options)[0] == "0 to be tried at once\n"
    assert refused.sweep() == 0
    chosen = ("--all", "--type", "NotePublished", "--topic", "notes")
    assert run("outbox_retry", *chosen, "--dry-run")[0].endswith("\n2 would be tried again\n")
    assert run("outbox_retry", *chosen)[0] == "2 to be tried at once\n"
    assert refused.sweep() == 4


def test_what_is_stuck_is_discarded_all_at_once(refused, mongo):
    """And what has only failed now and then isn't, which may come right by itself."""
    chosen = ("--stuck", "--topic", "notes", "--reason", "bug 17")
    assert run("outbox_discard", *chosen)[0] == "0 discarded\n"
    mongo["notes"].update_one({"_id": "a"}, {"$set": {"outbox.pending.0.attempts": 10}})
    assert run("outbox_discard", *chosen, "--type", "Other")[0] == "0 discarded\n"
    out, _, _ = run("outbox_discard", *chosen, "--dry-run")
    assert out.startswith(f"would discard {first(mongo, 'a')['event_id']}, NotePublished")
    assert out.endswith("\n1 would be discarded\n")
    assert mongo["outbox_discarded"].count_documents({}) == 0
    assert run("outbox_discard", *chosen)[0] == "1 discarded\n"
    assert [one["reason"] for one in mongo["outbox_discarded"].find()] == ["bug 17"]
    assert relaying.is_tombstone(first(mongo, "a"))
    assert not relaying.is_tombstone(first(mongo, "b"))


@pytest.mark.parametrize("command", [["outbox_retry"], ["outbox_discard", "--reason", "no"]])
def test_a_dry_run_says_what_is_not_pending_as_the_real_one_does(refused, mongo, command):
    event_id = first(mongo, "a")["event_id"]
    out, err, error = run(*command, "nobody's", event_id, "--dry-run")
    assert event_id in out
    assert err == "nobody's isn't pending: it has been published, or was never there.\n"
    assert error.startswith("1 could not be ")


@pytest.mark.parametrize("args", [["--stuck", "x"], [], ["x", "--topic", "notes"]])
def test_what_is_to_be_discarded_has_to_be_clear(args):
    assert "--stuck" in run("outbox_discard", *args, "--reason", "no")[2]


@pytest.mark.parametrize("by_hand", [True, False])
def test_many_are_done_with_a_bar_on_a_terminal(refused, mongo, monkeypatch, by_hand):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    err = Terminal()
    ids = [first(mongo, id)["event_id"] for id in ("a", "b")]
    call_command("outbox_retry", *(ids if by_hand else ["--all"]), stdout=io.StringIO(), stderr=err)
    assert err.getvalue() == f"\r[{'#' * 30}] 100%  2 of 2\n"


@pytest.mark.parametrize("args", [["outbox_retry", "--all"], ["outbox_discard", "x", "--reason=y"]])
def test_a_store_that_is_away_is_said_in_words(settings, args):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    assert "MongoDB can't be reached" in run(*args)[2]


def test_what_was_done_is_in_the_admins_log_with_who_and_why(refused, mongo, admin_log):
    a, b = (first(mongo, id)["event_id"] for id in ("a", "b"))
    run("outbox_retry", "nobody's", a)
    run("outbox_retry", "--all", "--dry-run")
    run("outbox_retry", "--all", "--topic", "notes", "--reason", "mended")
    run("outbox_discard", b, "--reason", "bug 17")
    assert admin_log() == [
        ("alice", f"{a}/notes/a", "Retried: By command."),
        (
            "alice",
            "Pending messages",
            "Retried: 1 of all with topic notes, state failed. mended. By command.",
        ),
        ("alice", f"{b}/notes/b", "Discarded: bug 17. By command."),
    ]
    assert mongo["outbox_discarded"].find_one()["discarded_by"] == "alice"


def test_somebody_else_may_be_named_who_must_be_there(refused, admin_log, django_user_model):
    assert (
        run("outbox_retry", "--all", "--user", "bob")[2] == "There is no user 'bob' in the admin."
    )
    assert admin_log() == []
    django_user_model.objects.create_user("bob")
    assert run("outbox_retry", "--all", "--user", "bob")[0] == "2 to be tried at once\n"
    assert [who for who, *_ in admin_log()] == ["bob"]


def test_without_a_user_of_that_name_it_is_done_and_not_in_the_log(
    refused, admin_log, monkeypatch, django_user_model
):
    django_user_model.objects.all().delete()
    out, err, _ = run("outbox_retry", "--all")
    assert out == "2 to be tried at once\n"
    assert err == (
        "The admin's log won't have this: there is no user 'alice'; name one with --user.\n"
    )
    assert admin_log() == []


def test_without_the_relational_database_it_is_done_all_the_same(
    refused, monkeypatch, django_user_model
):
    def away(*_):
        raise OperationalError("no such table: auth_user")

    monkeypatch.setattr(django_user_model.objects, "get_by_natural_key", away)
    out, err, _ = run("outbox_retry", "--all")
    assert out == "2 to be tried at once\n"
    assert err == "The admin's log won't have this: no such table: auth_user.\n"
