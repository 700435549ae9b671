"""What is wrong is said in plain words, and no louder than it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from outbox.diagnosis import level, problems, seconds_in_words
from outbox.monitoring import (
    BreakerState,
    Failing,
    LastSeen,
    Overview,
    Pending,
    SubscriberState,
)

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
LETTERS = SubscriberState(
    name="letters",
    topic="orders",
    lag=0,
    lag_is_exact=True,
    lag_seconds=0.0,
    unacknowledged=0,
    deferred=0,
    missing=0,
    dead_letters=0,
    consumers=1,
    active=["host:1"],
    breaker="closed",
)
WELL = Overview(
    at=AT,
    pending=Pending(0, True, None),
    stuck=0,
    dead_letters=0,
    replaying=0,
    published_per_minute=10,
    broker_error="",
    relay_seen=1.0,
    topics=[],
    subscribers=[LETTERS],
    leases=[],
    breakers=[],
    processes=[],
    took=0.1,
)


@pytest.fixture(autouse=True)
def counting(settings):
    settings.OUTBOX_STATISTICS = True


def pending(seconds, messages=7, is_exact=True):
    return {"pending": Pending(messages, is_exact, AT - timedelta(seconds=seconds))}


def letters(**changes):
    return {"subscribers": [LETTERS._replace(**changes)]}


def failing(attempts, *, died=False, events=1):
    error = "" if died else "ValueError: no"
    return {
        "failing": [Failing("letters", events, "e", "OrderPaid e", attempts, died, error, LATER)]
    }


def test_where_nothing_is_wrong_nothing_is_said():
    assert problems(WELL) == []
    assert level([]) == "well"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (pending(29), None),
        (pending(30), ("warning", "pending_age", "")),
        (pending(300), ("bad", "pending_age", "")),
        ({"stuck": 1}, ("warning", "stuck", "")),
        ({"stuck": 10}, ("bad", "stuck", "")),
        ({"dead_letters": 1}, ("warning", "dead_letters", "")),
        ({"dead_letters": 100}, ("bad", "dead_letters", "")),
        ({"relay_seen": 15.0}, ("warning", "no_relay", "")),
        ({"relay_seen": None}, ("bad", "no_relay", "")),
        ({"broker_error": "Redis can't be reached"}, ("bad", "broker", "")),
        ({"strange": {"orders": "string"}}, ("bad", "strange_key", "")),
        ({"lost": ["letters"]}, ("warning", "data_lost", "letters")),
        (letters(lag_seconds=61.0, lag=5), ("warning", "lag", "letters")),
        (letters(lag_seconds=601.0, unacknowledged=5), ("bad", "lag", "letters")),
        (letters(consumers=0), ("warning", "no_consumer", "letters")),
        (letters(consumers=0, lag=1), ("bad", "no_consumer", "letters")),
        (letters(breaker="open"), ("warning", "breaker", "letters")),
        (letters(breaker="half-open"), None),
        (letters(missing=2), ("warning", "missing", "letters")),
        (failing(2), None),
        (failing(3), ("warning", "failing", "letters")),
        (failing(2, died=True), ("warning", "crash_loop", "letters")),
        ({"breakers": [BreakerState("relay", "open", "h:1", AT)]}, ("bad", "breaker", "")),
    ],
)
def test_each_thing_that_is_wrong_is_said_once(changes, expected):
    found = problems(replace(WELL, **changes))
    assert [(one.level, one.code, one.subject) for one in found] == ([expected] if expected else [])
    assert level(found) == (expected[0] if expected else "well")
    assert all(one.text.endswith(".") and one.advice.endswith(".") for one in found)


def test_thresholds_can_be_others(settings):
    settings.OUTBOX_THRESHOLDS = {"dead_letters": (5, 6)}
    assert problems(replace(WELL, dead_letters=4)) == []
    assert level(problems(replace(WELL, dead_letters=6))) == "bad"


def test_the_worst_comes_first():
    found = problems(replace(WELL, stuck=1, **letters(consumers=0, lag=9)))
    assert [one.code for one in found] == ["no_consumer", "stuck"]


def test_what_kills_the_consumer_comes_before_that_it_is_gone():
    state = replace(WELL, **letters(consumers=0, lag=9), **failing(2, died=True))
    found = problems(state)
    assert [(one.level, one.code) for one in found] == [
        ("bad", "crash_loop"),
        ("bad", "no_consumer"),
    ]


def test_who_was_seen_last_is_named():
    [one] = problems(replace(WELL, **letters(consumers=0, last=LastSeen("web1:7", 48.2))))
    assert one.text == "No consumer runs for letters. The last, web1:7, was seen 48 s ago."
    [one] = problems(replace(WELL, relay_seen=20.0, relay="web1:9"))
    assert one.text == ("No relay was seen for 20 s: nothing is published. The last was web1:9.")


def test_messages_that_were_refused_are_not_said_to_be_on_their_way():
    late = replace(WELL, **pending(40))
    [one] = problems(late)
    assert "catching up" in one.advice
    [one] = problems(replace(late, refused=1))
    assert one.text.endswith("the oldest for 40 s. 1 aggregate had a message refused.")
    assert "catching up" not in one.advice
    assert "outbox_retry --all" in one.advice
    [late_too, stuck] = problems(replace(late, refused=3, stuck=3))
    assert (late_too.code, stuck.code) == ("pending_age", "stuck")
    assert "refused" not in late_too.text


def test_of_a_broker_that_is_away_no_lag_is_said():
    away = {"broker_error": "away", **letters(lag=None, lag_seconds=None, unacknowledged=None)}
    assert [one.code for one in problems(replace(WELL, **away))] == ["broker"]


def test_without_statistics_nobody_is_missed(settings):
    settings.OUTBOX_STATISTICS = False
    assert problems(replace(WELL, relay_seen=None, **letters(consumers=0))) == []


def test_who_fails_on_what_and_what_kills_its_process_is_said():
    [one] = problems(replace(WELL, **failing(4, events=7)))
    assert one.text == (
        "letters has failed 4 times on OrderPaid e; tried again at 2026-11-21T12:01:00Z. "
        "6 others wait like it."
    )
    assert one.detail == "ValueError: no"
    [one] = problems(replace(WELL, at=LATER, **failing(4)))
    assert "; due again since 2026-11-21T12:01:00Z." in one.text
    [one] = problems(replace(WELL, **failing(4, died=True)))
    assert one.text == (
        "letters: the process has died in attempt 4 of OrderPaid e; tried again at "
        "2026-11-21T12:01:00Z."
    )
    assert one.detail == ""


def test_what_is_estimated_is_said_to_be():
    [one] = problems(replace(WELL, **pending(100, messages=12_345, is_exact=False)))
    assert "about 12,345 messages wait, the oldest for 100 s" in one.text
    [one] = problems(replace(WELL, **letters(lag=10_000, lag_is_exact=False, lag_seconds=90.0)))
    assert "at least 10,000 events of orders not read" in one.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_lengths_of_time_in_words(seconds, words):
    assert seconds_in_words(seconds) == words
