"""Relays that are killed, at every point between two steps: nothing is lost, and order holds."""

import random
import time

import pytest

from outbox.relay import Relay
from outbox.relays import Relays
from tests.faults.checker import streams
from tests.faults.consumption import relaying
from tests.faults.interference import RELAY
from tests.faults.length import times
from tests.faults.writers import Writers

SWEEPING = """
relay = Relay("notes")
while True:
    relay.sweep()
    time.sleep(0.002)
"""

#: What `manage.py outbox_relay` runs, woken by the change stream.
WATCHING = """
Relays([Relay("notes")]).start()
while True:
    time.sleep(1.0)
"""


def archived(mongo):
    return {one["_id"] for one in mongo["outbox_dispatched"].find({}, {"_id": 1})}


def on_streams(redis):
    found = streams(redis, ("notes", "notes-internal"))
    return [event["eventId"] for entries in found.values() for _, event in entries]


def test_while_nobody_dies_nothing_is_published_twice(mongo, redis, nursery, account, settings):
    """However many relays there are, and whatever is saved while they pull."""
    settings.OUTBOX_LEASE = 10.0
    relay = nursery.start(SWEEPING)
    with relaying(), Writers(changes=40, pause=0.0) as writers:
        time.sleep(times(2, 30))
    ends = time.monotonic() + 10
    while mongo["notes"].find_one({"outbox.pending.0": {"$exists": True}}):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert relay.kill() == -9
    assert not account(acknowledged=writers.acknowledged)
    events = on_streams(redis)
    assert len(events) == len(set(events))


@pytest.mark.parametrize("code", [SWEEPING, WATCHING], ids=["sweeping", "watching"])
def test_nothing_is_lost_when_relays_of_several_processes_are_killed(
    mongo, redis, nursery, account, settings, code
):
    """And one that lives goes on at the same time."""
    settings.OUTBOX_LEASE = 1.0
    relays = Relays([Relay("notes")])
    relays.start()
    try:
        with Writers() as writers:
            for _ in range(times(4, 100)):
                other = nursery.start(code)
                time.sleep(random.uniform(0.2, 0.8))
                assert other.kill() == -9
    finally:
        assert relays.stop()
    assert not account(acknowledged=writers.acknowledged)
    assert archived(mongo) == set(on_streams(redis))


@pytest.mark.parametrize("point", RELAY)
def test_nothing_is_lost_when_relays_are_killed(mongo, redis, nursery, account, point):
    with Writers() as writers:
        for _ in range(times(3, 60)):
            call = random.randint(1, 5)
            assert nursery.run(f"at({point!r}, die, {call})" + SWEEPING) == -9
    assert not account(acknowledged=writers.acknowledged)
    # What died between publishing and archiving is archived by the next relay.
    assert archived(mongo) == set(on_streams(redis))


def test_nothing_is_lost_when_relays_are_killed_at_random_moments(mongo, redis, nursery, account):
    with Writers() as writers:
        for _ in range(times(8, 300)):
            relay = nursery.start(SWEEPING)
            time.sleep(random.uniform(0.02, 0.25))
            assert relay.kill() == -9
    assert not account(acknowledged=writers.acknowledged)
    assert archived(mongo) == set(on_streams(redis))


@pytest.mark.parametrize("point", ["after publish, before archive", "after archive, before pull"])
def test_what_was_published_and_not_pulled_is_published_again_with_the_same_ids(
    mongo, redis, nursery, account, point
):
    with Writers(clients=1) as writers:
        writers.until(1)
    assert nursery.run(f"at({point!r}, die)" + SWEEPING) == -9
    once = on_streams(redis)
    assert once
    assert not account()
    events = on_streams(redis)
    assert len(events) > len(set(events))
    assert set(once) < set(events) or set(once) == set(events)


def test_what_was_found_and_not_published_is_published_once(mongo, redis, nursery, account):
    with Writers(clients=1) as writers:
        writers.until(1)
    assert nursery.run("at('after find', die)" + SWEEPING) == -9
    assert on_streams(redis) == []
    assert not account()
    events = on_streams(redis)
    assert len(events) == len(set(events))
