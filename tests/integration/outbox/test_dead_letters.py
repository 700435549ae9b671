"""Dead letters, and the command that lists, replays and discards them."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from outbox import dead_letters
from outbox.dead_letter_actions import discard
from outbox.discovery import messaging
from tests.integration.outbox.consuming import (
    Stage,
    add,
    event,
    letters,
    projection,
    replay,
    waiting,
)

pytestmark = pytest.mark.usefixtures("mongo", "admin_log")


@pytest.fixture(autouse=True)
def _declared(monkeypatch):
    """The command replays for declared subscribers only."""
    monkeypatch.setitem(messaging().subscribes, "titles", projection())


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.OUTBOX_BACKOFF = 0.01
    settings.OUTBOX_MAX_ATTEMPTS = 1


@pytest.fixture(params=Stage.KINDS)
def broken(request):
    """A stage that can't handle number 2 of n1 until it is `mended`."""
    return breaking(request.param)


def breaking(kind="projection"):
    def before(event, delivery):
        if (delivery.aggregate_id, delivery.sequence) == ("n1", 2):
            raise ValueError("poison")

    stage = Stage(kind, before)
    stage.mend = lambda: setattr(stage, "before", lambda *_: None)
    return stage


def fill(redis, stage):
    add(redis, *(event("n1", number) for number in (1, 2, 3)))
    stage.finish()
    [letter] = letters()
    return letter["_id"]


def test_a_replay_after_the_fix_applies_the_event_once_however_often_it_is_asked(redis, broken):
    letter_id = fill(redis, broken)
    assert broken.seen() == {"n1": [1, 3]}
    broken.mend()
    replay(letter_id, by="ann")
    replay(letter_id, by="ann")
    assert letters()[0]["state"] == "replaying"
    assert dead_letters.count() == 0
    broken.finish()
    assert broken.seen() == {"n1": [1, 3, 2]}
    [letter] = letters()
    assert (letter["state"], letter["closed_by"]) == ("replayed", "ann")
    assert letter["closed_at"]
    assert replay(letter_id) == ([], {})
    add(redis, event("n1", 4))
    broken.finish()
    assert broken.seen() == {"n1": [1, 3, 2, 4]}


def test_a_replay_that_fails_is_a_dead_letter_again(redis, broken):
    letter_id = fill(redis, broken)
    replay(letter_id)
    broken.finish()
    assert [(one["_id"], one["state"]) for one in letters()] == [(letter_id, "dead")]
    broken.mend()
    replay(letter_id)
    broken.finish()
    assert broken.seen() == {"n1": [1, 3, 2]}


def test_a_replay_of_what_has_been_handled_meanwhile_does_nothing(redis, mongo, broken):
    letter_id = fill(redis, broken)
    broken.mend()
    replay(letter_id)
    broken.finish()
    mongo["outbox_dead_letters"].update_one({"_id": letter_id}, {"$set": {"state": "dead"}})
    replay(letter_id)
    broken.finish()
    assert broken.seen() == {"n1": [1, 3, 2]}
    assert letters()[0]["state"] == "replayed"


def test_a_discard_is_recorded_and_withdraws_a_replay_that_waits(redis):
    stage = breaking()
    letter_id = fill(redis, stage)
    stage.mend()
    replay(letter_id)
    assert len(waiting()) == 1
    discard([letter_id], reason="a test order", by="bob")
    assert waiting() == []
    stage.finish()
    assert stage.seen() == {"n1": [1, 3]}
    [letter] = letters()
    assert (letter["state"], letter["reason"], letter["closed_by"]) == (
        "discarded",
        "a test order",
        "bob",
    )
    assert letter["closed_at"] >= letter["failed_at"]
    assert replay(letter_id) == ([], {})
    assert discard([letter_id], reason="again", by="bob") == []


def test_what_could_not_be_read_cannot_be_replayed_and_is_not_told_twice(redis):
    add(redis, "poison")
    Stage("projection").drain()
    [letter] = letters()
    done, why = replay(letter["_id"])
    assert (done, "It isn't JSON" in why[letter["_id"]]) == ([], True)
    discard([letter["_id"]], reason="junk", by="bob")
    redis.xgroup_destroy("notes", "titles")
    Stage("projection").drain()
    assert [one["state"] for one in letters()] == ["discarded"]


def test_entries_of_one_id_on_two_streams_are_two_dead_letters(redis, settings):
    for stream in ("notes.0", "notes.1"):
        redis.xadd(stream, {"event": "poison"}, id="1-1")
        Stage("projection").drain(stream)
    assert len(letters()) == 2


def run(*arguments):
    out, err = StringIO(), StringIO()
    try:
        call_command("outbox_dead_letters", *arguments, stdout=out, stderr=err)
    finally:
        run.err = err.getvalue()
    return out.getvalue()


def test_the_command_lists_in_words_and_in_json(redis):
    assert run("list") == "0 dead letters\n"
    letter_id = fill(redis, breaking())
    text = run("list")
    assert letter_id in text
    assert "NotePublished, number 2 of n1" in text
    assert "1 x ValueError: poison" in text
    assert "1 dead letter\n" in text
    [line] = run("list", "--json").splitlines()
    assert json.loads(line)["_id"] == letter_id
    assert json.loads(line)["traceback"]
    with pytest.raises(CommandError, match="No subscriber is called others"):
        run("list", "--subscriber", "others")
    add(redis, "poison")
    Stage("projection").drain()
    assert "unreadable" in run("list", "--limit", "1")


def test_the_command_replays_and_discards(redis, admin_log):
    stage = breaking()
    letter_id = fill(redis, stage)
    assert letter_id in run("replay", "--all", "--dry-run")
    assert letters()[0]["state"] == "dead"
    with pytest.raises(CommandError, match="No subscriber is called others"):
        run("replay", "--all", "--subscriber", "others")
    assert "1 to be tried again" in run("replay", letter_id, "--reason", "mended")
    assert "0 dead letters, 1 waiting to be tried again" in run("list")
    assert letters()[0]["closed_by"]
    assert "1 discarded" in run("discard", letter_id, "--reason", "junk")
    assert letters()[0]["reason"] == "junk"
    assert admin_log() == [
        ("alice", letter_id, "Replayed: mended. By command."),
        ("alice", letter_id, "Discarded: junk. By command."),
    ]


def test_the_command_says_what_it_could_not_do_and_does_the_rest(redis):
    letter_id = fill(redis, breaking())
    add(redis, "poison")
    Stage("projection").drain()
    with pytest.raises(CommandError, match="1 could not be replayed"):
        run("replay", "--all")
    assert "It isn't JSON" in run.err
    with pytest.raises(CommandError, match="1 could not"):
        run("discard", "nobody's", letter_id, "--reason", "junk")
    assert 'no dead letter "nobody\'s"' in run.err
    assert "discarded" in {one["state"] for one in letters()}


def test_what_nobody_would_come_to_try_is_not_replayed(redis, monkeypatch):
    """Else it would be neither dead nor alive."""
    letter_id = fill(redis, breaking())
    monkeypatch.delitem(messaging().subscribes, "titles")
    with pytest.raises(CommandError, match="1 could not be replayed"):
        run("replay", letter_id)
    assert "No subscriber is called titles" in run.err
    assert "1 dead letter\n" in run("list", "--subscriber", "titles")


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "a", "--all"],
        ["replay", "a", "--topic", "notes"],
        ["discard", "a"],
        ["list", "--since", "yesterday"],
        ["burn"],
        [],
    ],
)
def test_the_command_refuses_what_is_not_clear(arguments):
    with pytest.raises(CommandError):
        run(*arguments)


def test_one_is_shown_with_all_that_is_known_of_it(redis):
    stage = breaking()
    letter_id = fill(redis, stage)
    said = run("show", letter_id)
    for part in (
        "event          NotePublished, number 2 of n1\n",
        "conversation   c-1\n",
        "subscriber     titles\n",
        "\nValueError: poison\nTraceback (most recent call last):\n",
        '\npayload\n{\n  "noteText": "hello"\n}\n',
        f"manage.py outbox_dead_letters replay '{letter_id}'\n",
    ):
        assert part in said
    assert "\x1b" not in said
    stage.mend()
    run("replay", letter_id)
    assert "waits for a consumer of titles" in run("show", letter_id)
    run("discard", letter_id, "--reason", "junk")
    said = run("show", letter_id)
    assert "reason         junk\n" in said
    assert said.endswith("There is nothing to do about it any more.\n")
    with pytest.raises(CommandError, match="There is no dead letter"):
        run("show", "nobody's")


def test_what_cannot_be_read_is_shown_as_it_is_and_not_to_be_replayed(redis):
    add(redis, "poison \x1b[2J")
    Stage("projection").drain()
    [letter] = letters()
    said = run("show", letter["_id"])
    assert "event          unreadable\n" in said
    assert "payload\npoison \\x1b[2J\n" in said
    assert "replay" not in said
    assert "discard" in said


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--subscriber", "titles"], 2),
        (["--error-type", "ValueError"], 1),
        (["--error-type", "KeyError"], 0),
        (["--type", "NotePublished", "--topic", "notes"], 1),
        (["--topic", "others"], 0),
        (["--since", "1h"], 2),
        (["--since", "2999-01-01"], 0),
    ],
)
def test_only_what_is_selected_is_listed_and_acted_on(redis, options, found):
    fill(redis, breaking())
    add(redis, "poison")
    Stage("projection").drain()
    assert f"{found} dead letter{'' if found == 1 else 's'}\n" in run("list", *options)
    assert len(run("list", *options, "--json").splitlines()) == found
    chosen = ("discard", "--all", *options, "--reason", "junk")
    assert run(*chosen, "--dry-run").endswith(f"{found} would be discarded\n")
    assert {one["state"] for one in letters()} == {"dead"}
    assert run(*chosen) == f"{found} discarded\n"
    assert sum(one["state"] == "discarded" for one in letters()) == found


def test_a_dry_run_of_a_replay_says_what_could_not_be_replayed(redis):
    letter_id = fill(redis, breaking())
    add(redis, "poison")
    Stage("projection").drain()
    with pytest.raises(CommandError, match="2 could not be replayed"):
        run("replay", "nobody's", *(one["_id"] for one in letters()), "--dry-run")
    assert "can't be replayed, only discarded: it isn't an event" in run.err
    assert "no dead letter" in run.err
    with pytest.raises(CommandError, match="1 could not be replayed"):
        run("replay", "--all", "--dry-run")
    assert {one["state"] for one in letters()} == {"dead"}
    with pytest.raises(CommandError, match="1 could not be discarded"):
        run("discard", letter_id, "nobody's", "--dry-run", "--reason", "x")


def test_who_has_no_name_is_a_number(redis, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found")

    letter_id = fill(redis, breaking())
    monkeypatch.setattr("getpass.getuser", nameless)
    run("discard", letter_id, "--reason", "junk")
    assert letters()[0]["closed_by"].isdigit()
