"""Processes on hosts whose clocks are ten minutes off: nobody's lease is taken, nothing is late."""

import time
from collections import Counter
from datetime import timedelta

import pytest

from outbox import clock
from outbox.document.saving import partition_of
from outbox.lease import Lease
from outbox.relay import Relay
from tests import notes
from tests.faults.checker import streams
from tests.faults.children import Nursery
from tests.faults.consumption import relaying
from tests.faults.host_clock import shifted
from tests.faults.writers import Writers

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(scope="module", params=[600, -600], ids=["ahead", "behind"])
def seconds(request):
    return request.param


@pytest.fixture(scope="module")
def _shifted_nursery(seconds):
    nursery = Nursery(before=shifted(seconds))
    yield nursery
    nursery.close()


@pytest.fixture
def host(_shifted_nursery):
    """Children whose clock is wrong."""
    yield _shifted_nursery
    _shifted_nursery.end_last()


def write(note_id):
    note = notes.Note(note_id)
    note.write("hello")
    notes.repository().add(note)


def events(redis):
    return [event for _, event in streams(redis, ["notes"])["notes"]]


CLOCKS = """
import datetime
from bson import decode, encode
now = datetime.datetime.now(datetime.UTC)
redis = connections.redis_client()
redis.rpush("clocks", time.time(), now.timestamp(), isinstance(decode(encode({"at": now}))["at"],
    datetime.datetime) * 1)
"""


def test_the_clock_of_such_a_process_is_wrong(host, redis, seconds):
    assert host.run(CLOCKS) == 0
    of_time, of_datetime, is_datetime = map(float, redis.lrange("clocks", 0, -1))
    assert abs(of_time - seconds - time.time()) < 60
    assert abs(of_datetime - seconds - time.time()) < 60
    assert is_datetime


def test_its_relay_takes_nobodys_lease_and_publishes_what_is_due_when_it_may(mongo, redis, host):
    write("n1")
    held = Lease(mongo, f"relay:notes:{partition_of('n1')}", 60)
    assert held.acquire()
    assert host.run("Relay('notes').sweep()") == 0
    assert events(redis) == []
    held.release()
    assert host.run("Relay('notes').sweep()") == 0
    assert len(events(redis)) == 1


def test_its_relay_publishes_nothing_before_it_is_due(mongo, redis, host):
    write("n1")
    later = {f"outbox.pending.{i}.due_at": clock.after(mongo, 300) for i in (0, 1)}
    mongo["notes"].update_one({}, {"$set": later})
    assert host.run("Relay('notes').sweep()") == 0
    assert events(redis) == []


def test_the_lease_of_its_relay_lasts_as_long_as_any(mongo, redis, host):
    write("n1")
    assert host.run("at('after find', die)\nRelay('notes').sweep()") == -9
    assert Relay("notes").sweep() == 0
    time.sleep(0.6)  # OUTBOX_LEASE is 0.5
    assert Relay("notes").sweep() == 2


def test_what_its_commands_store_is_published_at_once_and_says_when_it_happened(mongo, redis, host):
    code = "note = notes.Note('n1')\nnote.write('hello')\nnotes.repository().add(note)"
    assert host.run(code) == 0
    [one, _] = mongo["notes"].find_one()["outbox"]["pending"]
    for name in ("due_at", "occurred_at"):
        assert abs(one[name] - clock.now(mongo)) < timedelta(seconds=60)
    assert Relay("notes").sweep() == 2


def test_its_relay_and_a_right_one_share_the_work_and_publish_everything_once(
    mongo, redis, host, account, settings
):
    settings.OUTBOX_LEASE = 10.0
    relay = host.start("while True:\n    Relay('notes').sweep()\n    time.sleep(0.002)")
    with relaying(), Writers(changes=5) as writers:
        writers.until(20)
    deadline = time.monotonic() + 10
    while mongo["notes"].find_one({"outbox.pending.0": {"$exists": True}}):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert relay.kill() == -9
    assert not account(acknowledged=writers.acknowledged)
    assert set(Counter(one["eventId"] for one in events(redis)).values()) == {1}
