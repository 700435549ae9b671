"""Consumers that are killed, between any two steps: each event has its effect once."""

import random
import time
from collections import Counter

import pytest

from tests.faults.consumption import relaying, until_consumed
from tests.faults.interference import CONSUMER
from tests.faults.length import IS_LONG, times
from tests.faults.writers import Writers
from tests.integration.outbox.consuming import Stage, letters

POINTS = ["before the effect", "after the effect", *CONSUMER]

#: What is recorded is done where MongoDB has no part in it.
CONSUMING = """
calls, redis = [], connections.redis_client()

def before(event, delivery):
    calls.append(delivery)
    if {point!r} == "before the effect" and len(calls) == {call}:
        die()
    if {kind!r} == "recorded":
        redis.rpush("letters", f"{{delivery.aggregate_id}} {{delivery.sequence}}")
    if {point!r} == "after the effect" and len(calls) == {call}:
        die()

if "effect" not in {point!r}:
    at({point!r}, die, {call})
stage = Stage({kind!r}, before)
while True:
    stage.drain()
    time.sleep(0.005)
"""


@pytest.fixture(autouse=True)
def _patient(settings):
    # Of many that are killed, one event may be in hand each time; it is no poison.
    settings.OUTBOX_MAX_ATTEMPTS = 1000


def effects(redis, kind):
    """What had its effect, by aggregate, in that order."""
    if kind != "recorded":
        return Stage(kind).seen()
    found = {}
    for text in redis.lrange("letters", 0, -1):
        aggregate_id, sequence = text.decode().split()
        found.setdefault(aggregate_id, []).append(int(sequence))
    return found


def again(effects):
    """How often something was done again."""
    numbers = Counter((one, number) for one in effects for number in effects[one])
    return numbers.total() - len(numbers)


def once(effects):
    return {one: list(dict.fromkeys(numbers)) for one, numbers in effects.items()}


def finish(redis, kind):
    def before(event, delivery):
        if kind == "recorded":
            redis.rpush("letters", f"{delivery.aggregate_id} {delivery.sequence}")

    until_consumed(redis, Stage(kind, before))


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        (kind, point)
        for kind in Stage.KINDS
        for point in POINTS
        if IS_LONG or kind == "projection" or point in ("before the note", "before ack")
    ],
)
def test_no_effect_is_lost_and_none_had_twice_when_consumers_are_killed(
    mongo, redis, nursery, account, kind, point
):
    deaths = times(1, 30)
    with relaying(), Writers(clients=1) as writers:
        for _ in range(deaths):
            call = random.randint(1, 3)
            assert nursery.run(CONSUMING.format(kind=kind, point=point, call=call)) == -9
    assert not account()
    finish(redis, kind)
    had = effects(redis, kind)
    if kind == "recorded":
        # At least once, said plainly: what was in hand when one died is done again.
        assert again(had) <= deaths
        had = once(had)
    assert not account(effects={"notes": had}, acknowledged=writers.acknowledged)
    assert letters() == []


@pytest.mark.parametrize("kind", ["embedded", "projection", *(["session"] if IS_LONG else [])])
def test_consumers_that_are_killed_at_random_moments_lose_and_double_nothing(
    mongo, redis, nursery, account, kind
):
    code = CONSUMING.format(kind=kind, point="after the effect", call=0)
    with relaying(), Writers(clients=1):
        for _ in range(times(2, 100)):
            consumer = nursery.start(code)
            time.sleep(random.uniform(0.3, 0.9))
            assert consumer.kill() == -9
    assert not account()
    finish(redis, kind)
    assert not account(effects={"notes": effects(redis, kind)})
    assert letters() == []
