"""A subscriber that comes when the streams have been trimmed, or begins now: from what is there."""

import random
import time
from datetime import timedelta

import pytest

from outbox import consumers, inbox, streams, trimming
from outbox.beginnings import trimmed_key
from outbox.discovery import Messaging
from outbox.errors import RebuildRefused, StoreUnavailable
from outbox.rebuild import rebuild
from tests.faults.length import times
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import Stage, add, event, letters, waiting

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(params=["redis", "valkey"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def _trims(monkeypatch, settings):
    settings.OUTBOX_BACKOFF = 0.01
    settings.OUTBOX_STREAM_RETENTION = timedelta(milliseconds=1)
    monkeypatch.setattr(trimming, "topics", lambda: ["notes"])
    monkeypatch.setattr(trimming, "messaging", Messaging)


@pytest.fixture
def before():
    """A subscriber that was there before anything was trimmed."""
    return Stage("recorded", name="first")


@pytest.fixture(params=Stage.KINDS)
def late(request):
    """One that comes later, of each kind."""
    return Stage(request.param)


def trim():
    time.sleep(0.003)
    return sum(one.trimmed for one in trimming.trim())


def trimmed(redis, before, *events):
    """These have been published, handled and trimmed."""
    add(redis, *events)
    before.drain()
    assert trim() == len(events)


def test_it_begins_each_aggregate_with_what_is_there_and_waits_for_nothing(server, before, late):
    many = [f"n{number}" for number in range(100)]
    trimmed(server, before, *(event(one, 1) for one in many))
    add(server, *(event(one, 2) for one in many), event("new", 1))
    late.drain()
    add(server, *(event(one, 3) for one in many), event("later", 7), event("new", 2))
    late.drain()
    expected = {one: [2, 3] for one in many} | {"new": [1, 2], "later": [7]}
    assert late.seen() == expected
    assert waiting() == letters() == []


def test_a_gap_in_what_is_there_is_waited_for(redis, before, late):
    trimmed(redis, before, event("n1", 1), event("n1", 2))
    add(redis, event("n1", 3), event("n1", 5), event("n2", 1), event("n2", 3))
    late.drain()
    assert late.seen() == {"n1": [3], "n2": [1]}
    add(redis, event("n1", 4), event("n2", 2))
    late.finish()
    assert late.seen() == {"n1": [3, 4, 5], "n2": [1, 2, 3]}


def test_what_comes_later_with_a_lower_number_is_a_repeat(redis, before, late):
    trimmed(redis, before, *(event("n1", number) for number in (1, 2)))
    add(redis, event("n1", 3), event("n1", 2), event("n1", 3), event("n1", 4))
    add(redis, *(event("n1", number) for number in (1, 2, 3, 4)), event("n1", 5))
    late.drain()
    assert late.seen() == {"n1": [3, 4, 5]}
    assert waiting() == letters() == []


def test_who_was_there_before_still_waits_for_a_number_1_that_was_lost(server, before):
    other = Stage("projection")
    add(server, event("n1", 1))
    other.drain()
    before.drain()
    assert trim() == 1
    add(server, event("n2", 2))
    before.drain()
    other.drain()
    assert before.seen() == other.seen() == {"n1": [1]}
    assert len(waiting()) == 2


def test_on_a_stream_that_was_never_trimmed_everybody_waits_for_number_1(redis, before, late):
    add(redis, event("n1", 2))
    late.drain()
    assert late.seen() == {}
    assert len(waiting()) == 1


def test_a_group_that_was_removed_and_comes_again_begins_with_what_is_there(redis, before):
    other = Stage("projection")
    add(redis, event("n1", 1))
    other.drain()
    before.drain()
    assert trim() == 1
    assert redis.smembers(trimmed_key("notes")) == {b"", b"first", b"titles"}
    redis.xgroup_destroy("notes", "titles")
    trimmed(redis, before, event("n2", 1), event("n2", 2))
    add(redis, event("n2", 3), event("n1", 2))
    other.drain()
    assert other.seen() == {"n1": [1, 2], "n2": [3]}
    assert redis.smembers(trimmed_key("notes")) == {b"", b"first"}


@pytest.mark.parametrize("start", ["now", "beginning"])
@pytest.mark.parametrize("first", [1, 5])
def test_an_aggregate_s_first_event_that_fails_is_not_overtaken(redis, before, start, first):
    broken = [True]

    def fail(event, delivery):
        if delivery.sequence == first and broken:
            raise ValueError

    late = Stage("projection", fail, start=start)
    if start == "now":
        late.drain()
    else:
        trimmed(redis, before, event("n0", 1))
    for number in range(first, first + 3):
        add(redis, event("n1", number))
        late.drain()
    assert late.seen() == {}
    broken.clear()
    late.finish()
    assert late.seen() == {"n1": [first, first + 1, first + 2]}
    assert letters() == []


@pytest.mark.parametrize("start", ["now", "beginning"])
def test_what_a_paused_consumer_has_been_given_is_not_overtaken(
    server, settings, before, start, monkeypatch
):
    settings.OUTBOX_GAP_TIMEOUT = 0.05
    late = Stage("projection", start=start)
    if start == "now":
        late.drain()
    else:
        trimmed(server, before, *(event("n1", number) for number in range(1, 5)))
    consumer, paused = late.consumer(), late.consumer()
    consumer.drain()
    add(server, event("n1", 5))
    assert len(paused._group.read(10, 0)) == 1
    add(server, event("n1", 6))
    # It claims only now and then, and this comes in between.
    monkeypatch.setattr(consumer, "_claim", lambda idle: None)
    consumer.drain()
    time.sleep(0.06)
    consumer.drain()
    assert late.seen() == {}
    late.finish()
    assert late.seen() == {"n1": [5, 6]}


def test_what_a_dead_consumer_has_left_is_begun_with(redis, before, late):
    trimmed(redis, before, *(event("n1", number) for number in range(1, 5)))
    late.consumer()._group.create()
    add(redis, event("n1", 5), event("n1", 6))
    late.consumer()._group.read(10, 0)
    add(redis, event("n1", 7))
    late.finish()
    assert late.seen() == {"n1": [5, 6, 7]}


def test_dying_between_the_beginning_and_the_effect_changes_nothing(redis, before, monkeypatch):
    trimmed(redis, before, event("n1", 1))
    add(redis, event("n1", 2), event("n1", 3))
    late = Stage("projection")
    consumer = late.consumer()

    def away(*args, **more):
        raise StoreUnavailable("away")

    monkeypatch.setattr(consumer._runner, "run", away)
    with pytest.raises(StoreUnavailable):
        consumer.drain()
    assert inbox.cursors("titles", "notes", ["n1"]) == {"n1": 1}
    late.drain()
    assert late.seen() == {"n1": [2, 3]}


def test_what_lies_on_a_stream_of_an_earlier_configuration_comes_first(
    redis, settings, before, monkeypatch
):
    settings.OUTBOX_GAP_TIMEOUT = 0.05
    trimmed(redis, before, event("n1", 1))
    add(redis, event("n1", 2), event("n1", 3))
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    now = streams.stream_of("notes", "n1")
    add(redis, event("n1", 4), event("n2", 9, stream=now), stream=now)
    late = Stage("projection")
    monkeypatch.setattr(consumers, "bus", lambda: late.bus)
    several = consumers.consumers_of(late.subscriber)
    for _ in range(3):
        for one in several:
            one.drain()
        time.sleep(0.06)
    assert late.seen()["n1"] == [2, 3, 4]
    assert late.seen()["n2"] == [9]
    assert waiting() == []


def test_a_new_stream_of_a_topic_that_was_trimmed_elsewhere_counts_as_trimmed(
    redis, settings, before
):
    trimmed(redis, before, event("n1", 1))
    redis.delete("notes")
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    now = streams.stream_of("notes", "n1")
    add(redis, event("n1", 2), stream=now)
    late = Stage("projection")
    late.drain(now)
    assert late.seen() == {"n1": [2]}


def test_a_read_model_that_began_late_does_not_pass_for_a_whole_one(redis, before):
    trimmed(redis, before, event("n1", 1))
    add(redis, event("n1", 2))
    projection = consuming.projection()
    consuming.drain(projection)
    assert consuming.seen() == [2]
    with pytest.raises(RebuildRefused, match="n1 lacks number 1"):
        rebuild(projection)
    assert consuming.seen() == [2]


def test_trimming_leaves_its_note_even_if_the_memory_is_full(server, before):
    add(server, event("n1", 1), event("n1", 2))
    before.drain()
    server.config_set("maxmemory", 1)
    try:
        assert trim() == 2
    finally:
        server.config_set("maxmemory", 0)
    assert server.smembers(trimmed_key("notes")) == {b"", b"first"}


@pytest.mark.parametrize("seed", range(times(1, 20)))
def test_a_subscriber_added_at_any_time_handles_just_what_is_there_then_and_from_then_on(
    server, settings, seed
):
    """Random histories with repeats, trimmed in random places under an existing subscriber."""
    rng = random.Random(seed)
    first, stages = Stage("recorded", name="first"), []
    settings.OUTBOX_CONSUMER_BATCH = rng.choice([1, 3, 50])
    at = _now(server) - 20 * 86_400_000
    numbers = dict.fromkeys([f"n{one}" for one in range(8)], 0)
    published, there = [], []  # both of (id, aggregate, number)

    def publish(entries):
        nonlocal at
        for aggregate, number in entries:
            at += 60_000
            text = consuming.json.dumps(event(aggregate, number, eventId=f"{aggregate}-{number}"))
            server.xadd("notes", {"event": text}, id=f"{at}-0")
            there.append((at, aggregate, number))
            published.append((aggregate, number))

    for step in range(40):
        did = rng.random()
        if did < 0.5:
            batch = []
            for _ in range(rng.randint(1, 12)):
                aggregate = rng.choice(list(numbers))
                numbers[aggregate] += 1
                batch.append((aggregate, numbers[aggregate]))
            publish(batch)
            if rng.random() < 0.4:  # a relay died before it had noted what it published
                publish(batch)
        elif did < 0.7:
            first.drain()
        elif did < 0.85 and there:
            cut = rng.choice(there)[0] + 30_000
            settings.OUTBOX_STREAM_RETENTION = timedelta(milliseconds=_now(server) - cut)
            trimming.trim()
            left = {int(one.split(b"-")[0]) for one, _ in server.xrange("notes")}
            there[:] = [one for one in there if one[0] in left]
        elif len(stages) < 5:
            late = Stage("recorded", name=f"late{step}")
            late.consumer()._group.create()
            stages.append((late, list(there), len(published)))
        for late, _, _ in stages:
            if rng.random() < 0.3:
                late.drain()
    for late, was_there, since in stages:
        late.finish()
        expected = {}
        for aggregate, number in [one[1:] for one in was_there] + published[since:]:
            of_it = expected.setdefault(aggregate, [])
            if not of_it or number > of_it[-1]:
                of_it.append(number)
        assert late.seen() == expected
        for of_it in expected.values():
            assert of_it == list(range(of_it[0], of_it[-1] + 1))
    first.finish()
    assert first.seen() == {one: list(range(1, n + 1)) for one, n in numbers.items() if n}
    assert waiting() == letters() == []


def _now(redis):
    seconds, micros = redis.time()
    return seconds * 1000 + micros // 1000
