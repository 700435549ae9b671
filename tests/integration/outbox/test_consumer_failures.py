"""Failing handlers: who is tried again, who is given up, and who isn't concerned."""

import time
from contextlib import suppress

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, ExecutionTimeout
from redis.exceptions import ConnectionError as ConnectionLost

from outbox import DomainError, backoff, context, dead_letters, deferred, inbox, signals
from outbox.errors import BrokerUnavailable, StoreUnavailable
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import Stage, add, event, letters, waiting

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(params=Stage.KINDS)
def stage(request):
    return Stage(request.param)


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.OUTBOX_BACKOFF, settings.OUTBOX_BACKOFF_MAX = 0.01, 0.02
    settings.OUTBOX_MAX_ATTEMPTS = 3
    settings.OUTBOX_BREAKER_RESET = 0.02


class Base(BaseException):
    """As `asyncio.CancelledError`, say."""


def failing(error, *places, times=None):
    """Raises `error` for events at these (aggregate, number)s, the first so many times of each."""
    tried = []

    def before(event, delivery):
        place = delivery.aggregate_id, delivery.sequence
        if place in places:
            tried.append(place)
            if times is None or tried.count(place) <= times:
                raise error

    before.tried = tried
    return before


def story(*aggregates, upto=3):
    return [event(one, number) for number in range(1, upto + 1) for one in aggregates]


def test_one_poison_among_two_thousand_costs_one_dead_letter_and_nobody_else(redis, stage):
    many = 1000 if stage.kind in ("projection", "session") else 125
    ids = [f"n{number}" for number in range(many)]
    stage.before = failing(ValueError("poison"), ("n100", 1))
    add(redis, *story(*ids, upto=2))
    began = time.time()
    counts = stage.finish()
    expected = {one: [1, 2] for one in ids} | {"n100": [2]}
    assert stage.seen() == expected
    assert counts["handled"] == 2 * many - 1
    [letter] = letters()
    assert letter["_id"].startswith("titles:")
    assert (letter["subscriber"], letter["state"]) == ("titles", "dead")
    assert (letter["aggregate_id"], letter["sequence"], letter["attempts"]) == ("n100", 1, 3)
    assert letter["text"].startswith('{"eventType": "NotePublished"')
    assert letter["error"] == "ValueError: poison"
    assert "raise error" in letter["traceback"]
    assert began - 1 < letter["first_failed_at"].timestamp() <= letter["failed_at"].timestamp()
    assert consuming.pending(redis, "titles") == 0


def test_others_go_on_while_one_waits_and_its_later_events_stay_behind_it(
    redis, settings, stage, monkeypatch
):
    # Jitter may make it no time at all.
    monkeypatch.setattr(backoff, "delay", lambda attempts: 0.6)
    settings.OUTBOX_MAX_ATTEMPTS = 10
    stage.before = failing(ValueError(), ("n1", 2), times=2)
    add(redis, *story("n1", "n2"))
    stage.drain()
    assert stage.seen() == {"n1": [1], "n2": [1, 2, 3]}
    add(redis, event("n1", 4), event("n2", 4))
    stage.drain()
    assert stage.seen()["n2"] == [1, 2, 3, 4]
    stage.finish()
    assert stage.seen()["n1"] == [1, 2, 3, 4]
    assert letters() == []


def test_the_next_attempt_comes_after_a_backoff_with_jitter(redis, monkeypatch):
    asked = []
    monkeypatch.setattr(backoff, "delay", lambda attempts: asked.append(attempts) or 0.0)
    stage = Stage("recorded", failing(ValueError(), ("n1", 1)))
    add(redis, event("n1", 1))
    stage.finish()
    assert {1, 2, 3} >= set(asked) >= {1, 2}
    assert stage.before.tried == [("n1", 1)] * 3


@pytest.mark.parametrize(
    ("error", "changes", "times"),
    [
        (DomainError("no"), {}, 1),
        (ValueError(), {"max_attempts": 1}, 1),
        (ValueError(), {"max_attempts": 5}, 5),
        (KeyError(), {"attempts": {LookupError: 2}}, 2),
        (KeyError(), {"attempts": {LookupError: 7}}, 7),
        (DomainError(), {"attempts": {DomainError: 2}}, 2),
    ],
)
@pytest.mark.parametrize("kind", ["projection", "embedded"])
def test_how_often_it_is_tried_is_said_by_subscriber_and_error(redis, kind, error, changes, times):
    stage = Stage(kind, failing(error, ("n1", 1)), **changes)
    add(redis, *story("n1", upto=2))
    stage.finish()
    assert len(stage.before.tried) == times
    [letter] = letters()
    assert (letter["attempts"], letter["error_type"]) == (times, type(error).__name__)
    assert stage.seen() == {"n1": [2]}


@pytest.mark.parametrize("text", ["\ud800", "x" * 30_000_000])
def test_an_error_that_cannot_be_stored_as_it_is_stops_nobody(redis, text):
    stage = Stage("recorded", failing(ValueError(text), ("n1", 1)))
    add(redis, *story("n1", "n2", upto=2))
    stage.finish()
    assert stage.seen() == {"n1": [2], "n2": [1, 2]}
    assert len(letters()) == 1


def test_a_handler_that_exits_is_one_that_fails(redis, stage):
    stage.before = failing(SystemExit(1), ("n1", 1))
    add(redis, *story("n1", "n2"))
    stage.finish()
    assert stage.seen() == {"n1": [2, 3], "n2": [1, 2, 3]}
    assert len(letters()) == 1


@pytest.mark.parametrize(
    "error",
    [ExecutionTimeout("too slow"), AutoReconnect("another server's"), StoreUnavailable(), Base()],
    ids=repr,
)
def test_a_handler_whose_own_queries_always_fail_is_given_up_and_stops_nobody(redis, stage, error):
    """MongoDB isn't away if the failure can be stored."""
    stage.before = failing(error, ("n1", 2))
    add(redis, *story("n1", "n2"))
    stage.finish()
    assert stage.seen() == {"n1": [1, 3], "n2": [1, 2, 3]}
    [letter] = letters()
    assert (letter["aggregate_id"], letter["sequence"]) == ("n1", 2)


def test_a_session_handler_that_passes_over_an_error_is_given_up_and_stops_nobody(
    redis, mongo, settings
):
    """The server has ended the transaction by then, and running it again is no use."""
    settings.OUTBOX_MAX_ATTEMPTS = 3
    mongo["taken"].insert_one({"_id": 1})

    def swallow(event, delivery, session):
        if delivery.sequence == 2:
            with suppress(DuplicateKeyError):
                mongo["taken"].insert_one({"_id": 1}, session=session)
        push = {"$push": {"seen": delivery.sequence}}
        models = mongo[consuming.READ_MODEL]
        models.update_one({"_id": delivery.aggregate_id}, push, upsert=True, session=session)

    subscriber = consuming.projection(swallow, collection=None)
    add(redis, *story("n1", "n2"))
    deadline = time.monotonic() + 20
    while not (consuming.drain(subscriber) and not waiting()):
        assert time.monotonic() < deadline
    assert consuming.seen_by_all_numbers() == {"n1": [1, 3], "n2": [1, 3]}
    assert {one["sequence"] for one in letters()} == {2}


def test_early_events_of_one_id_are_both_kept(redis, stage):
    """A publisher's mistake must not lose one of them in silence."""
    twice = context.new_id()
    early = [event(name, 2, eventId=twice) for name in ("n1", "n2")]
    add(redis, *early, event("n1", 1), event("n2", 1), event("n1", 3), event("n2", 3))
    stage.finish()
    seen = stage.seen()
    for name in ("n1", "n2"):
        given_up = any(one["aggregate_id"] == name for one in letters())
        assert seen[name] == ([1, 3] if given_up else [1, 2, 3])


def test_an_id_that_is_given_twice_does_not_stop_the_stream(redis, stage):
    add(redis, event("n1", 1, eventId="e1"), event("n2", 1), event("n3", 1, eventId="e1"))
    add(redis, event("n2", 2), event("n3", 2))
    stage.finish()
    assert stage.seen()["n2"] == [1, 2]
    assert stage.seen()["n3"][-1] == 2
    assert consuming.pending(redis, "titles") == 0


@pytest.fixture
def breaker_states():
    found = []

    def note(sender, state, **_):
        found.append(state)

    signals.breaker_changed.connect(note)
    yield found
    signals.breaker_changed.disconnect(note)


def test_while_what_it_needs_is_away_a_subscriber_rests_and_loses_nothing(
    redis, settings, stage, breaker_states
):
    settings.OUTBOX_BREAKER_RESET = 0.1
    away, calls = [True], []

    def before(event, delivery):
        calls.append(delivery.event_id)
        if away:
            raise ConnectionError

    stage.before = before
    add(redis, *story(*(f"n{number}" for number in range(20)), upto=2))
    consumer = stage.consumer()
    consumer.drain()
    assert breaker_states[0] == "open"
    assert 5 <= len(calls) <= 25
    add(redis, *story("late"))
    for _ in range(8):
        time.sleep(0.101)
        consumer.drain()
    assert letters() == []
    assert stage.seen() == {}
    assert len(calls) < 50
    away.clear()
    deadline = time.monotonic() + 5
    while stage.seen().get("late") != [1, 2, 3] and time.monotonic() < deadline:
        time.sleep(0.03)
        consumer.drain()
    time.sleep(0.03)
    consumer.drain()
    assert breaker_states[-1] == "closed"
    assert waiting() == letters() == []
    assert stage.seen() == {f"n{one}": [1, 2] for one in range(20)} | {"late": [1, 2, 3]}


def test_a_single_poison_does_not_open_the_breaker(redis, settings, stage, breaker_states):
    settings.OUTBOX_MAX_ATTEMPTS = 12
    stage.before = failing(ValueError(), ("n1", 1))
    add(redis, *story("n1", "n2"))
    consumer = stage.consumer()
    while not letters():
        consumer.drain()
        time.sleep(0.01)
    assert breaker_states == []
    assert letters()[0]["attempts"] == 12


def test_any_error_of_many_events_opens_it_and_none_is_tried_for_ever(redis, stage, breaker_states):
    def before(event, delivery):
        raise RuntimeError

    stage.before = before
    add(redis, *story(*(f"n{number}" for number in range(8)), upto=1))
    consumer = stage.consumer()
    deadline = time.monotonic() + 5
    while len(letters()) < 8 and time.monotonic() < deadline:
        consumer.drain()
        time.sleep(0.02)
    assert "open" in breaker_states
    assert [one["attempts"] for one in letters()] == [3] * 8
    assert waiting() == []


POINTS = [
    (inbox, "cursors"),
    (inbox, "note"),
    (inbox, "advance"),
    (deferred, "put"),
    (deferred, "begin"),
    (deferred, "due"),
    (deferred, "remove"),
    (dead_letters, "store"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), POINTS, ids=[name for _, name in POINTS])
@pytest.mark.parametrize("kind", ["embedded", "projection"])
def test_when_mongodb_goes_away_anywhere_nothing_is_lost_or_done_twice(
    redis, monkeypatch, kind, module, name, after
):
    stage = Stage(kind, failing(ValueError(), ("n1", 2), ("n2", 1)))
    add(redis, *story("n1", "n2", "n3"))
    original, down = getattr(module, name), [1, 2]

    def cut(*args, **more):
        if down and after:
            original(*args, **more)
        if down:
            down.pop()
            raise AutoReconnect("cut off")
        return original(*args, **more)

    monkeypatch.setattr(module, name, cut)
    consumer, cuts = stage.consumer(), 0
    deadline = time.monotonic() + 8
    while waiting() or not letters():
        assert time.monotonic() < deadline
        try:
            consumer.drain()
        except StoreUnavailable:
            cuts += 1
        time.sleep(0.01)
    consumer.drain()
    assert cuts >= 1
    assert stage.seen() == {"n1": [1, 3], "n2": [2, 3], "n3": [1, 2, 3]}
    assert {(one["aggregate_id"], one["sequence"]) for one in letters()} == {("n1", 2), ("n2", 1)}
    assert {one["attempts"] for one in letters()} == {3}


@pytest.mark.parametrize("kind", ["embedded", "recorded"])
def test_an_attempt_that_ended_because_mongodb_was_away_does_not_count(
    redis, settings, monkeypatch, kind
):
    settings.OUTBOX_MAX_ATTEMPTS = 2
    stage = Stage(kind, failing(ValueError(), ("n1", 1), times=1))
    add(redis, event("n1", 1))
    monkeypatch.setattr(backoff, "delay", lambda attempts: 0.05)
    consumer, cuts = stage.consumer(), []

    def cut(*_):
        cuts.append(1)
        raise AutoReconnect("cut off")

    # From the first attempt on, which fails by itself: the second may follow within one drain.
    with monkeypatch.context() as broken:
        broken.setattr(inbox, "note", cut)
        while len(cuts) < 4:
            with suppress(StoreUnavailable):
                consumer.drain()
            time.sleep(0.02)
            assert letters() == []
    time.sleep(0.06)
    consumer.drain()
    assert stage.seen() == {"n1": [1]}
    assert letters() == waiting() == []


def test_a_broker_that_is_away_costs_nothing(redis, monkeypatch, stage):
    add(redis, *story("n1", "n2"))
    consumer = stage.consumer()
    for method in ("xreadgroup", "xack"):
        with monkeypatch.context() as broken:

            def refuse(*args, **more):
                raise ConnectionLost("away")

            broken.setattr(type(redis), method, refuse)
            with pytest.raises(BrokerUnavailable):
                consumer.drain()
    stage.drain()
    assert stage.seen() == {"n1": [1, 2, 3], "n2": [1, 2, 3]}
    assert letters() == []


def test_from_so_many_dead_letters_on_there_is_an_alert_and_one_with_each_doubling(
    redis, settings, caplog, monkeypatch
):
    monkeypatch.setattr(dead_letters, "_alerted", 0)
    settings.OUTBOX_DEAD_LETTER_ALERT = 2
    alerts, dead = [], []

    def alert(sender, count, **_):
        alerts.append((sender, count))

    def tell(sender, dead_letter_id, delivery, error, **_):
        dead.append((dead_letter_id, delivery.sequence, type(error)))
        raise RuntimeError("a receiver that fails changes nothing")

    signals.dead_letter_alert.connect(alert)
    signals.dead_lettered.connect(tell)
    try:
        stage = Stage("recorded", failing(DomainError(), *(("n1", n) for n in range(1, 6))))
        add(redis, *(event("n1", number) for number in range(1, 6)))
        stage.finish()
    finally:
        signals.dead_letter_alert.disconnect(alert)
        signals.dead_lettered.disconnect(tell)
    assert alerts == [("titles", 2), ("titles", 4)]
    assert [(number, kind) for _, number, kind in dead] == [(n, DomainError) for n in range(1, 6)]
    told = [one for one in caplog.records if "There are" in one.getMessage()]
    assert [one.count for one in told] == [2, 4]
