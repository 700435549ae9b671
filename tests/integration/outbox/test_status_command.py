"""`manage.py outbox_status`: how the outbox is, in words, in JSON, and as an exit code."""

import dataclasses
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from outbox import monitoring
from outbox.discovery import messaging
from outbox.errors import MissingIndex
from outbox.monitoring import (
    BreakerState,
    Failing,
    Held,
    Overview,
    Pending,
    SubscriberState,
    Topic,
)
from outbox.statistics import Process

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

WELL = Overview(
    at=NOON,
    pending=Pending(2, True, NOON - timedelta(seconds=1)),
    stuck=0,
    dead_letters=0,
    replaying=0,
    published_per_minute=1200,
    broker_error="",
    relay_seen=0.5,
    topics=[Topic("orders", 123_456, 1200, 4321), Topic("stock", 7, 0, None)],
    subscribers=[
        SubscriberState("letters", "orders", 0, True, None, 3, 0, 0, 0, 1, ["web1:17"], "closed")
    ],
    leases=[Held("consumer:letters:orders", "web1:17", NOON), Held("orders:3", "web2:9", NOON)],
    breakers=[BreakerState("letters", "closed", "web1:17", NOON)],
    processes=[
        Process("web1", 17, NOON, {"consumer:letters": NOON}, {"letters": ("closed", NOON)})
    ],
    took=0.01,
)


@pytest.fixture(autouse=True)
def _counted(settings):
    settings.OUTBOX_STATISTICS = True


@pytest.fixture
def given(monkeypatch):
    """Has the command find this state, with some changes."""

    def give(subscriber=None, **changes):
        if subscriber:
            changes["subscribers"] = [WELL.subscribers[0]._replace(**subscriber)]
        found = dataclasses.replace(WELL, **changes)
        monkeypatch.setattr(monitoring, "overview", lambda: found)

    return give


def run(*arguments):
    """What it says, and how it exits."""
    out = io.StringIO()
    try:
        call_command("outbox_status", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def test_all_is_well(given):
    given()
    assert run() == (
        """\
The outbox at 2026-11-21T12:00:00Z: WELL

Pending       2, the oldest for 1 s
Stuck         0
Dead letters  0
Published     1,200 in the last full minute

topic   published  last minute  on its streams
orders    123,456        1,200           4,321
stock           7            0               ?

subscriber  topic   unread  behind  in hand  put aside  dead  consumer
letters     orders       0       -        3          0     0  web1:17

Relay seen 0 s ago; partitions are held by web2:9 just now.
""",
        0,
    )


def test_a_warning_is_1_and_comes_with_what_to_do(given):
    given(stuck=2)
    said, code = run()
    assert code == 1
    assert ": WARNING\n\nWARNING 2 messages are stuck: " in said
    assert "\n  `manage.py outbox_retry --stuck --dry-run` says why." in said


def test_what_is_bad_is_2_and_comes_first(given):
    given(stuck=2, broker_error="Redis can't be reached: refused")
    said, code = run()
    assert code == 2
    assert said.index("BAD Redis doesn't answer") < said.index("WARNING 2 messages are stuck")


def test_from_where_on_it_is_bad_is_a_setting(given, settings):
    given(stuck=2)
    settings.OUTBOX_THRESHOLDS = {"stuck": (3, 5)}
    assert run()[1] == 0
    settings.OUTBOX_THRESHOLDS = {"stuck": (1, 2)}
    assert run()[1] == 2


def test_what_is_not_counted_to_the_end_is_said_to_be_about_as_much(given):
    given(
        {"lag": 500, "lag_is_exact": False, "lag_seconds": 240.0, "breaker": "open", "active": []},
        pending=Pending(50_000, False, NOON - timedelta(hours=3)),
        replaying=4,
        relay_seen=None,
        breakers=[BreakerState("letters", "open", "web1:17", NOON)],
    )
    said, code = run()
    assert code == 2
    assert "Pending       about 50,000, the oldest for 3 h\n" in said
    assert "Dead letters  0, and 4 being tried again\n" in said
    assert "letters     orders   ≥ 500   4 min        3          0     0  waits (rests)\n" in said
    assert "Relay seen never; " in said
    assert "breaker of letters in web1:17 is open since 2026-11-21T12:00:00.000Z." in said


def test_who_fails_and_on_what_is_named(given):
    error = "OSError: no \x1b[31mroute"
    found = [
        Failing("letters", 3, "e-1", "OrderPaid e-1", 4, False, error, NOON),
        Failing("letters", 1, "e-2", "OrderPaid e-2", 2, True, "", NOON),
        Failing("stock", 1, "e-3", "OrderPlaced e-3", 1, False, error, NOON),
    ]
    given(failing=found)
    said, code = run()
    assert code == 1
    assert (
        "WARNING letters has failed 4 times on OrderPaid e-1; due again since "
        "2026-11-21T12:00:00Z. 2 others wait like it.\n  OSError: no \\x1b[31mroute\n  "
        "`manage.py outbox_waiting --tried --subscriber letters` says which and why."
    ) in said
    assert "WARNING letters: the process has died in attempt 2 of OrderPaid e-2;" in said
    assert "e-3" not in said
    assert "\nFailing       5, to be tried again: letters 4, stock 1\n" in said
    assert json.loads(run("--json")[0])["failing"][2]["subscriber"] == "stock"


@pytest.mark.parametrize(("stuck", "level", "code"), [(0, "well", 0), (1, "warning", 1)])
def test_in_json_it_has_all_that_there_is(given, stuck, level, code):
    given(stuck=stuck)
    said, exit_code = run("--json")
    found = json.loads(said)
    assert said.count("\n") == 1
    assert exit_code == code
    assert (found.pop("level"), len(found.pop("problems"))) == (level, stuck)
    assert found.keys() == {one.name for one in dataclasses.fields(Overview)}
    assert found["pending"] == {
        "messages": 2,
        "is_exact": True,
        "oldest": "2026-11-21T11:59:59.000Z",
    }
    assert found["subscribers"][0]["active"] == ["web1:17"]
    assert found["processes"][0]["breakers"] == {"letters": ["closed", "2026-11-21T12:00:00.000Z"]}


@pytest.mark.parametrize("error", [MissingIndex(), RuntimeError("Authentication failed")])
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_store_that_cannot_be_asked_is_bad(monkeypatch, error, arguments):
    """Whatever the reason: exit code 1, which an exception has, would say that it isn't so bad."""

    def fails():
        raise error

    monkeypatch.setattr(monitoring, "overview", fails)
    said, code = run(*arguments)
    assert code == 2
    assert f"The outbox can't be asked how it is: {error}" in said
    if arguments:
        assert json.loads(said)["level"] == "bad"


def test_a_store_that_is_away_is_said_in_words(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    said, code = run()
    assert said.startswith(
        "The outbox: BAD\n\nBAD The outbox can't be asked how it is: MongoDB can't"
    )
    assert code == 2


def test_it_looks_at_what_is_there(mongo, redis):
    said, code = run("--json")
    found = json.loads(said)
    assert code == 2
    assert found["problems"][0]["code"] == "no_relay"
    assert {one["name"] for one in found["subscribers"]} == set(messaging().subscribes)
    assert "No relay was seen in the last hour" in run()[0]


@pytest.mark.parametrize(
    ("arguments", "coloured"), [([], True), (["--no-color"], False), (["--json"], False)]
)
def test_colours_are_for_terminals(given, arguments, coloured, monkeypatch):
    given(stuck=1)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    for out, there in ((Terminal(), coloured), (io.StringIO(), False)):
        with pytest.raises(SystemExit):
            call_command("outbox_status", *arguments, stdout=out)
        assert ("\x1b[" in out.getvalue()) == there


def test_what_others_have_written_cannot_command_the_terminal(given):
    given(broker_error="\x1b[2J gone")
    assert "\x1b" not in run()[0]
