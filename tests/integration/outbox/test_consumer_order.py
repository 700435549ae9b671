"""Order and repeats: each event once, in sequence per aggregate, however the stream looks."""

import random
import time
from datetime import timedelta

import pytest

from outbox import clock, consumers, deferred_events, gap_reports, signals, streams
from outbox.consumers import consumers_of
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import (
    Stage,
    add,
    cloudevent,
    event,
    eventually,
    letters,
    waiting,
)

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(params=Stage.KINDS)
def stage(request):
    return Stage(request.param)


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.OUTBOX_BACKOFF = 0.01


def story(*aggregates, upto=5):
    return [event(one, number) for number in range(1, upto + 1) for one in aggregates]


def texts_on(redis):
    return [fields[b"event"] for _, fields in redis.xrange("notes")]


def test_a_new_subscriber_sees_history(redis, stage):
    add(redis, *story("n1", "n2"))
    stage.drain()
    assert stage.seen() == {"n1": [1, 2, 3, 4, 5], "n2": [1, 2, 3, 4, 5]}
    assert consuming.pending(redis, "titles") == 0


def test_from_now_on_it_sees_the_next_event_whatever_its_number(redis):
    stage = Stage("projection", start="now")
    add(redis, *(event("n1", number) for number in (15, 16)))
    stage.drain()
    add(redis, *(event("n1", number) for number in (17, 18)))
    stage.drain()
    add(redis, event("n1", 16), event("n1", 18), event("n1", 19), event("n2", 3))
    stage.drain()
    assert stage.seen() == {"n1": [17, 18, 19], "n2": [3]}
    add(redis, event("n1", 21))
    stage.drain()
    assert stage.seen()["n1"] == [17, 18, 19]


def test_from_now_on_nothing_is_missed_when_redis_lost_its_data_while_nobody_read(redis):
    stage = Stage("projection", start="now")
    stage.drain()
    add(redis, event("n1", 17))
    stage.drain()
    redis.flushdb()
    add(redis, event("n1", 18))
    stage.drain()
    assert stage.seen() == {"n1": [17, 18]}


def test_cloudevents_are_consumed_as_well(redis, stage):
    add(redis, cloudevent("n1", 1), event("n1", 2))
    stage.drain()
    assert stage.seen() == {"n1": [1, 2]}


def test_an_entry_added_a_thousand_times_is_handled_once(redis, stage):
    first, second = story("n1", upto=2)
    add(redis, *[first] * 600, second, *[first] * 400, second)
    counts = stage.drain()
    assert stage.seen() == {"n1": [1, 2]}
    assert (counts["handled"], counts["repeats"]) == (2, 1000)
    assert letters() == waiting() == []


def test_the_whole_stream_again_changes_nothing(redis, stage):
    add(redis, *story("n1", "n2"))
    stage.drain()
    add(redis, *texts_on(redis))
    counts = stage.drain()
    assert stage.seen() == {"n1": [1, 2, 3, 4, 5], "n2": [1, 2, 3, 4, 5]}
    assert (counts["handled"], counts["repeats"]) == (0, 10)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_and_with_a_gap_that_is_filled_later_each_is_handled_once_and_in_order(
    redis, settings, stage, seed
):
    settings.OUTBOX_CONSUMER_BATCH = 7
    events = story("n1", "n2", "n3", upto=8)
    missing = events.pop(9)
    random.Random(seed).shuffle(events)
    add(redis, *events, *events[:5])
    stage.drain()
    held = missing["aggregateId"]
    assert stage.seen()[held] == list(range(1, missing["sequenceNumber"]))
    add(redis, missing)
    stage.drain()
    assert stage.seen() == {one: list(range(1, 9)) for one in ("n1", "n2", "n3")}
    assert letters() == waiting() == []


def test_a_type_without_a_handler_is_passed_over_and_its_number_counts(redis, stage):
    add(redis, event("n1", 1), event("n1", 2, eventType="NoteBurned"), event("n1", 3))
    counts = stage.drain()
    assert stage.seen() == {"n1": [1, 3]}
    assert (counts["handled"], counts["passed over"]) == (2, 1)


@pytest.mark.parametrize(
    "tombstone", [{"payload": None}, {"payload": None, "eventType": "outbox.Discarded"}]
)
def test_a_tombstone_closes_a_gap(redis, stage, tombstone):
    add(redis, event("n1", 1), event("n1", 3))
    stage.drain()
    assert stage.seen() == {"n1": [1]}
    add(redis, event("n1", 2, **tombstone))
    stage.drain()
    assert stage.seen() == {"n1": [1, 3]}


UNREADABLE = [
    "poison",
    "",
    "[1]",
    "{}",
    "[" * 50_000,
    b"\xff\xfe",
    event("", 1),
    event("n1", "2"),
    event("n1", 1, eventId="\ud800"),
    cloudevent("n1", 1.5),
]


def test_what_cannot_be_read_becomes_a_dead_letter_with_its_text_and_stops_nobody(redis, stage):
    add(redis, event("n1", 1), *UNREADABLE, event("n1", 2))
    redis.xadd("notes", {"strange": "field", "and": b"\xff"})
    add(redis, event("n1", 3))
    counts = stage.drain()
    assert stage.seen() == {"n1": [1, 2, 3]}
    found = letters()
    assert counts["dead letters"] == len(found) == len(UNREADABLE) + 1
    assert {one["error_type"] for one in found} == {"UnreadableEvent"}
    assert {"poison", "", "[1]", "\\xff\\xfe"} < {one["text"] for one in found}
    assert '{"strange": "field", "and": "\\\\xff"}' in {one["text"] for one in found}
    assert consuming.pending(redis, "titles") == 0


FLAWED = [
    {"timestamp": "?"},
    {"timestamp": "0001-01-01T00:00:00+23:00"},
    {"version": 7},
    {"version": "2.0"},
    {"metadata": 3},
    {"payload": {"noteText": float("nan")}},
    {"payload": {"other": 1}},
    {"payload": "text"},
]


def test_a_flawed_event_that_has_a_place_in_the_order_does_not_hold_up_the_later_ones(redis, stage):
    for number, changes in enumerate(FLAWED, 1):
        add(redis, event("n1", number, **changes))
    broken = b'{"eventId": "e9", "aggregateId": "n1", "sequenceNumber": 9, "payload": "\xff"}'
    add(redis, broken, event("n1", 10))
    stage.drain()
    assert stage.seen() == {"n1": [10]}
    found = letters()
    assert [one["sequence"] for one in sorted(found, key=lambda one: one["sequence"])] == [
        *range(1, 10)
    ]
    assert {(one["error_type"], one["attempts"]) for one in found} == {("UnreadableEvent", 1)}
    assert waiting() == []


def test_a_flawed_event_that_comes_early_waits_for_its_turn(redis):
    stage = Stage("projection")
    add(redis, event("n1", 2, timestamp="?"), event("n1", 3))
    stage.drain()
    assert letters() == []
    add(redis, event("n1", 1))
    stage.drain()
    assert stage.seen() == {"n1": [1, 3]}
    assert [one["sequence"] for one in letters()] == [2]


def test_more_than_a_document_can_hold_is_a_dead_letter_too(redis):
    stage = Stage("projection")
    huge = event("n1", 1, text="x" * 17_000_000)
    add(redis, huge, "y" * 17_000_000, event("n1", 2))
    stage.drain()
    assert stage.seen() == {"n1": [2]}
    assert len(letters()) == 2


REPORTERS = ("outbox.gap_reports", "outbox.deferred_events")


@pytest.fixture
def alerts():
    found = []

    def note(sender, **known):
        found.append((sender, known["delivery"].sequence, known["missing"], known["policy"]))

    signals.gap_timed_out.connect(note)
    yield found
    signals.gap_timed_out.disconnect(note)


def test_a_gap_is_told_once_logged_and_held_until_the_missing_one_comes(
    mongo, redis, settings, stage, alerts, caplog
):
    add(redis, event("n1", 1), event("n1", 3), event("n1", 4), event("n2", 1))
    stage.drain()
    assert stage.seen() == {"n1": [1], "n2": [1]}
    assert alerts == []
    settings.OUTBOX_GAP_TIMEOUT = 0.1
    long_ago = clock.now(mongo) - timedelta(hours=1)
    mongo["outbox_deferred"].update_many({}, {"$set": {"due_at": long_ago, "since": long_ago}})
    for _ in range(3):
        time.sleep(0.11)
        stage.drain()
    assert alerts == [("titles", 3, 2, "hold")]
    errors = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "number 2 of n1" in errors[0].getMessage()
    assert stage.seen()["n1"] == [1]
    settings.OUTBOX_GAP_TIMEOUT = 60
    time.sleep(0.11)
    stage.drain()
    add(redis, event("n1", 2))
    stage.drain()
    assert stage.seen()["n1"] == [1, 2, 3, 4]
    assert waiting() == letters() == []


@pytest.mark.parametrize("policy", ["hold", "pass"])
def test_many_gaps_at_once_are_two_lines_a_minute_and_each_is_signalled(
    redis, settings, alerts, caplog, monkeypatch, policy
):
    settings.OUTBOX_GAP_TIMEOUT, settings.OUTBOX_GAP_POLICY = 1.0, policy
    monkeypatch.setattr(gap_reports, "EVERY", 3600)
    monkeypatch.setattr(deferred_events, "AT_A_TIME", 8)
    consumer = Stage("projection").consumer()
    add(redis, *(event(f"n{number}", 2) for number in range(20)))
    consumer.drain()
    for _ in range(2):
        time.sleep(1.05)
        consumer.drain()
    assert len(alerts) == 20
    told = [(one.levelname, one.getMessage()) for one in caplog.records if one.name in REPORTERS]
    assert [level for level, _ in told] == ["ERROR", "ERROR"]
    assert "for number 1 of n" in told[0][1]
    assert told[1][1] == "titles has waited as long for numbers of 7 other aggregates on notes."


def test_a_gap_can_be_passed_and_the_late_one_is_kept_as_one_dead_letter(
    redis, settings, stage, alerts
):
    settings.OUTBOX_GAP_TIMEOUT, settings.OUTBOX_GAP_POLICY = 0.1, "pass"
    late = event("n1", 2)
    add(redis, event("n1", 1), event("n1", 4), event("n1", 5), event("n2", 3))
    stage.drain()
    time.sleep(0.11)
    stage.drain()
    assert stage.seen() == {"n1": [1, 4, 5], "n2": [3]}
    assert sorted(alerts) == [("titles", 3, 1, "pass"), ("titles", 4, 2, "pass")]
    add(redis, late, late, event("n1", 6), event("n1", 4))
    stage.drain()
    add(redis, late)
    stage.drain()
    [letter] = letters()
    assert (letter["error_type"], letter["sequence"]) == ("GapPassed", 2)
    assert stage.seen()["n1"] == [1, 4, 5, 6]


def test_what_a_dead_consumer_left_before_a_gap_goes_on_at_once_when_it_is_filled(redis, stage):
    """Claimed entries too come early, and mustn't wait for the time-out of a gap that is closed."""
    stage.consumer()._group.create()
    add(redis, event("n1", 2), event("n1", 3))
    stage.consumer()._group.read(10, 0)
    stage.drain()
    assert stage.seen() == {}
    add(redis, event("n1", 1))
    stage.drain()
    assert stage.seen() == {"n1": [1, 2, 3]}


def test_a_topic_over_several_streams_keeps_the_order_and_what_lies_on_an_old_one_counts(
    redis, settings
):
    settings.OUTBOX_GAP_TIMEOUT = 0.05
    ids = consuming.publish_notes(4, changes=2)
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 3}}
    repository = consuming.notes.repository()
    for note_id in ids:
        note = repository.get(note_id)
        note.write("more")
        repository.save(note)
    consuming.Relay("notes").sweep()
    ids += consuming.publish_notes(20)
    found = consumers_of(consuming.projection())
    names = [one.stream for one in found]
    assert names == ["notes.0", "notes.1", "notes.2", "notes"]
    for one in found:
        one.drain()
    time.sleep(0.06)
    for one in found:
        one.drain()
    assert consuming.seen_by_all() == {one: [1, 2, 3] for one in ids}
    assert all(consuming.pending(redis, "titles", one) == 0 for one in names)
    assert waiting() == letters() == []


def test_the_relay_and_a_consumer_get_along(redis, stage):
    ids = consuming.publish_notes(10)
    stage.drain()
    assert stage.seen() == {one: [1, 2, 3] for one in ids}


def test_a_backlog_on_the_stream_of_before_does_not_hold_up_what_is_on_the_new_ones(
    redis, settings, stage, monkeypatch
):
    """The consumers of one process take turns; each knows what the others have done."""
    settings.OUTBOX_GAP_TIMEOUT = 0.3
    aggregates = [f"n{number}" for number in range(8)]
    add(redis, *(event(one, number) for number in (1, 2) for one in aggregates))
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    for one in aggregates:
        for number in (3, 4):
            add(redis, event(one, number), stream=streams.stream_of("notes", one))
    monkeypatch.setattr(consumers, "bus", lambda: stage.bus)
    several = consumers.consumers_of(stage.subscriber)
    assert len(several) == 3

    def finished():
        for one in several:
            one.drain()
        return not waiting()

    eventually(finished)
    assert stage.seen() == {one: [1, 2, 3, 4] for one in aggregates}
    assert letters() == []


def test_what_was_deferred_on_a_stream_that_is_gone_goes_on_where_it_belongs_now(
    redis, settings, stage, monkeypatch
):
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    before = streams.stream_of("notes", "n1")
    add(redis, event("n1", 2), stream=before)
    stage.drain(before)
    assert len(waiting()) == 1
    redis.delete(before)
    settings.OUTBOX_TOPICS = {}
    monkeypatch.setattr(consumers, "bus", lambda: stage.bus)
    [one] = consumers.consumers_of(stage.subscriber)
    add(redis, event("n1", 1))
    one.drain()
    assert stage.seen() == {"n1": [1, 2]}
