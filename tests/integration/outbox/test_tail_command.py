"""`manage.py outbox_tail`, run in a process of its own: what is published is seen as it comes."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config import embedded
from outbox import connections
from outbox.management.tailing import Tail
from tests.integration.outbox.consuming import PRELUDE, add, event

COMMAND = """
import django
django.setup()
from django.core.management import call_command
call_command("outbox_tail", *sys.argv[1:])
"""

#: Says when the streams' ends have been taken: what is added from then on is shown.
BEGUN = """
from outbox.management.tailing import Tail
begin = Tail.begin
def told(self, last):
    found = begin(self, last)
    print("begun", file=sys.stderr, flush=True)
    return found
Tail.begin = told
"""


def started(*arguments, code="", stdout=subprocess.PIPE, env=None):
    """The command in a process, with this test's servers."""
    own = {"OUTBOX_REDIS_URL": settings.OUTBOX_REDIS_URL}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code + COMMAND, "notes", "--force", *arguments],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TEST_SETTINGS": json.dumps(own)} | (env or {}),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(*arguments):
    """The same, which has begun to look."""
    process = started(*arguments, code=BEGUN)
    assert process.stderr.readline() == "begun\n"
    return process


@pytest.fixture
def tail():
    """`begun`, and ended with the test."""
    processes = []

    def start(*arguments):
        processes.append(begun(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def numbers(process, count):
    """Of the next so many lines."""
    return [json.loads(process.stdout.readline())["sequenceNumber"] for _ in range(count)]


def stopped(process):
    """How it ends when it is told to, and what it says."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def test_in_a_pipe_each_envelope_is_a_line_as_it_lies_on_the_stream(redis, tail):
    process = tail()
    first, second = event("n1", 1, "ä \u2028"), event("n1", 2)
    add(redis, json.dumps(first, ensure_ascii=False), json.dumps(second, indent=2))
    assert process.stdout.readline() == json.dumps(first, ensure_ascii=False) + "\n"
    assert json.loads(process.stdout.readline()) == second
    assert stopped(process) == (0, "", "")


def test_what_was_there_before_is_shown_when_asked_for(redis, tail):
    add(redis, *(event("n1", number) for number in range(1, 251)))
    assert numbers(tail("--from-start"), 250) == [*range(1, 251)]
    last = tail("--last", "120")
    assert numbers(last, 120) == [*range(131, 251)]
    only_new = tail()
    add(redis, event("n1", 251))
    assert numbers(last, 1) == numbers(only_new, 1) == [251]


def test_only_what_is_asked_for_is_shown(redis, tail):
    for number in range(1, 4):
        add(redis, event("n1", number), event("n2", number), event("n1", number, eventType="Other"))
    chosen = ("--aggregate", "n1", "--type", "NotePublished")
    before, after = tail(*chosen, "--last", "2"), tail(*chosen)
    add(redis, event("n2", 4), event("n1", 4, eventType="Other"), event("n1", 4))
    assert numbers(before, 3) == [2, 3, 4]
    assert numbers(after, 1) == [4]


def test_a_topic_on_several_streams_is_shown_in_the_order_of_time(redis, settings):
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    for number in range(1, 301):
        # One stream has most of it: a page of the other reaches further in time.
        stream = "notes.1" if number % 10 == 0 else "notes.0"
        redis.xadd(stream, {"event": json.dumps(event("n1", number))}, id=f"{number}-0")
    redis.xadd("notes", {"event": json.dumps(event("n1", 301))}, id="301-0")

    def shown(last, most):
        tail, found = Tail("notes"), []
        found += tail.begin(last)
        for one in tail.entries():
            found += [one] if one else []
            if len(found) >= most:
                return [one.event.sequence for one in found]
        raise AssertionError

    assert shown(None, 301) == [*range(1, 302)]
    assert shown(25, 25) == [*range(277, 302)]


def test_nobody_else_notices(redis, tail):
    redis.xgroup_create("notes", "titles", mkstream=True)
    process = tail()
    add(redis, event("n1", 1))
    numbers(process, 1)
    [group] = redis.xinfo_groups("notes")
    assert (group["name"], group["pending"], group["last-delivered-id"]) == (b"titles", 0, b"0-0")


def test_what_is_no_envelope_is_told_beside_and_the_rest_is_shown(redis, tail):
    process = tail()
    [place] = add(redis, "poison")
    other = redis.xadd("notes", {"else": "x"})
    add(redis, event("n1", 1))
    assert numbers(process, 1) == [1]
    _, _, said = stopped(process)
    first, second = said.splitlines()
    assert first.startswith(f"notes {place.decode()} can't be read: It isn't JSON")
    assert second == f"notes {other.decode()} can't be read: It has no field event."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_stops_at_once_and_without_a_word(redis, tail, number):
    process = tail()
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("waits", [True, False])
def test_it_ends_quietly_when_its_reader_has_gone(redis, tail, waits):
    """Whether an event comes that it can't write, or none ever does."""
    process = tail()
    if waits:
        process.stdout.close()
    else:
        add(redis, event("n1", 1))
        numbers(process, 1)
        process.stdout.close()
        add(redis, event("n1", 2))
    assert process.wait(timeout=10) == 0
    assert process.stderr.read() == ""


def test_it_goes_on_after_the_broker_was_away_and_says_both(settings, tmp_path):
    with embedded.Redis(tmp_path) as server:
        settings.OUTBOX_REDIS_URL = server.url
        process = begun()
        try:
            client = connections.redis_client()
            add(client, event("n1", 1))
            assert numbers(process, 1) == [1]
            server.stop()
            said = process.stderr.readline()
            assert said.startswith("Redis can't be reached: ")
            assert said.endswith(". Tries again every second.\n")
            server.start()
            add(connections.redis_client(), event("n1", 2))
            assert numbers(process, 1) == [2]
            assert stopped(process) == (0, "", "Redis is there again.\n")
        finally:
            process.kill()


def test_a_broker_that_is_not_there_yet_is_waited_for(settings, tmp_path):
    server = embedded.Redis(tmp_path)
    settings.OUTBOX_REDIS_URL = server.url
    process = started("--from-start")
    try:
        assert "Tries again" in process.stderr.readline()
        with server:
            add(connections.redis_client(), event("n1", 1))
            assert numbers(process, 1) == [1]
    finally:
        process.kill()
        process.communicate()


def test_a_key_that_is_no_stream_is_said_in_words(redis):
    redis.set("notes", "x")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        call_command("outbox_tail", "notes", "--force")


def test_an_unknown_topic_is_refused_with_those_there_are():
    with pytest.raises(CommandError, match=r"there are: orders, .* another service: --force"):
        call_command("outbox_tail", "nothing")


@pytest.mark.parametrize("number", ["-1", "x"])
def test_a_number_of_events_is_one(number):
    with pytest.raises(CommandError, match="is no number of events"):
        call_command("outbox_tail", "orders", "--last", number)


def test_on_a_terminal_it_is_for_people(redis, tail):
    """In colours, unless they aren't wanted."""
    add(redis, event("n1", 7, "hello " * 100, timestamp="2026-01-02T10:00:00.123Z"))
    for arguments, coloured in (([], True), (["--no-color"], False)):
        ours, theirs = pty.openpty()
        process = started("--last", "1", *arguments, stdout=theirs, env={"COLUMNS": "60"})
        os.close(theirs)
        said = b""
        try:
            while said.count(b"\n") < 2:
                said += os.read(ours, 10_000)
        finally:
            process.kill()
            process.communicate()
            os.close(ours)
        first, second, *_ = said.decode().split("\r\n")
        assert ("\x1b[" in first) == coloured
        if not coloured:
            assert first == "2026-01-02T10:00:00.123Z  NotePublished  number 7 of n1"
            assert second.startswith('  c-1  {"noteText": "hello hello')
            assert second.endswith("…")
            assert len(second) == 60
