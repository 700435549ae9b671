"""Relays that are stopped (SIGSTOP) until their lease has passed on, and then go on."""

import random
import time

import pytest

from outbox.document.saving import partition_of
from outbox.lease import Lease
from outbox.relay import Relay
from tests import notes
from tests.faults.checker import streams
from tests.faults.length import times
from tests.faults.test_relay_deaths import SWEEPING
from tests.faults.writers import Writers

ONCE = """
Relay("notes").sweep()
"""


def write(*texts):
    repository = notes.repository()
    for number, text in enumerate(texts):
        note = repository.get("n1") if number or text == "again" else notes.Note("n1")
        note.write(text)
        repository.save(note) if note.version else repository.add(note)


def entries(redis, topic="notes"):
    return [event["sequenceNumber"] for _, event in streams(redis, [topic])[topic]]


def take_over():
    """Sweep as soon as the lease of the one that is stopped has run out."""
    deadline = time.monotonic() + 10
    while not (published := Relay("notes").sweep()):
        assert time.monotonic() < deadline, "the lease doesn't run out"
        time.sleep(0.02)
    return published


def test_a_relay_that_was_stopped_between_find_and_publish_publishes_nothing_of_anothers(
    mongo, redis, nursery, account
):
    write("first", "second")
    first = nursery.start("at('after find', pause)" + ONCE)
    first.until_stopped()
    assert entries(redis) == []
    assert Relay("notes").sweep() == 0  # it is the other's
    assert take_over() == 4
    write("again")
    # And while the second one is at it: what is due now is its own, too.
    heir = Lease(mongo, f"relay:notes:{partition_of('n1')}", 30)
    assert heir.acquire()
    first.go_on()
    assert first.exit_code == 0
    assert entries(redis) == [1, 2]
    heir.release()
    assert not account()
    assert entries(redis) == [1, 2, 3]


def test_a_relay_that_was_stopped_between_publish_and_pull_pulls_only_what_it_has_published(
    mongo, redis, nursery, account
):
    write("first")
    first = nursery.start("at('after publish, before archive', pause)" + ONCE)
    first.until_stopped()
    write("again")
    assert take_over() == 4
    assert entries(redis) == [1, 1, 2]
    write("again")
    first.go_on()
    assert first.exit_code == 0
    assert not account()
    assert sorted(entries(redis)) == [1, 1, 2, 3]
    assert mongo["outbox_dispatched"].count_documents({}) == 6


@pytest.mark.parametrize("point", ["half of the batch sent to Redis", "before publish"])
def test_what_a_relay_sends_after_its_lease_has_passed_on_are_repeats_in_their_order(
    mongo, redis, nursery, account, point
):
    """Nobody can look at a clock and act at the same moment."""
    write("first", "second")
    first = nursery.start(f"at({point!r}, pause)" + ONCE)
    first.until_stopped()
    write("again")
    assert take_over() == 6
    first.go_on()
    assert first.exit_code == 0
    assert entries(redis) == [1, 2, 3, 1, 2]
    assert not account()


def test_nothing_is_lost_when_relays_are_stopped_at_random_moments_and_go_on_past_their_lease(
    mongo, redis, nursery, account, settings
):
    settings.OUTBOX_LEASE = 0.2
    heir = Relay("notes")
    with Writers() as writers:
        for _ in range(times(3, 100)):
            point = random.choice(["after find", "before publish", "after archive, before pull"])
            relay = nursery.start(f"at({point!r}, pause, {random.randint(1, 5)})" + SWEEPING)
            relay.until_stopped()
            ends = time.monotonic() + 0.4
            while time.monotonic() < ends:
                heir.sweep()
            relay.go_on()
            time.sleep(random.uniform(0.0, 0.1))
            relay.kill()
    assert not account(acknowledged=writers.acknowledged)
