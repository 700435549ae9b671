"""What each process counts adds up, in one place, whoever is killed and whatever is away."""

import logging
import os
import time
from datetime import timedelta

import pytest

from outbox import clock, connections, statistics, telemetry
from outbox.context import new_id
from outbox.errors import StoreUnavailable
from outbox.relay import Relay
from outbox.telemetry import BUCKETS, Telemetry
from tests import notes
from tests.integration.outbox.consuming import Stage, add, event
from tests.notes import Note

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(autouse=True)
def counting(settings):
    settings.OUTBOX_STATISTICS = True
    telemetry.telemetry.forget()
    yield
    telemetry.telemetry.forget()


def write(id):
    note = Note(id)
    note.write("hello")
    notes.repository().add(note)


def test_counts_of_several_processes_add_up():
    here, there = Telemetry(), Telemetry()
    here.count("published", "orders", 3)
    there.count("published", "orders", 4)
    there.count("published", "stock")
    here.flush()
    there.flush()
    assert statistics.totals() == {"published": {"orders": 7, "stock": 1}}


def test_a_histogram_counts_each_value_once_and_their_sum():
    here = Telemetry()
    here.observe("publish_seconds", "orders", [0.001, 0.005, 0.006, 10_000, -3])
    here.flush()
    found = statistics.totals()["publish_seconds"]["orders"]
    assert found == {"0": 3, "1": 1, str(len(BUCKETS)): 1, "sum": pytest.approx(10_000.012)}


def test_minutes_are_kept_by_themselves():
    here = Telemetry()
    here.count("published", "orders", 3)
    here.count("handled", "letters", 2)
    here.flush()
    at = clock.now(connections.database())
    found = statistics.minutes(at - timedelta(minutes=2), ["published"])
    assert [one.counts for one in found] == [{"published": {"orders": 3}}]
    assert found[0].at.second == 0
    assert statistics.minutes(at + timedelta(minutes=2), ["published"]) == []


def test_what_could_not_be_written_is_written_later(settings, monkeypatch):
    here = Telemetry()
    here.count("published", "orders", 3)
    here.alive("relay")
    write_total = Telemetry._write_total

    def away(self, counts):
        raise StoreUnavailable

    monkeypatch.setattr(Telemetry, "_write_total", away)
    here.flush()
    assert statistics.totals() == {}
    monkeypatch.setattr(Telemetry, "_write_total", write_total)
    here.count("published", "orders")
    here.flush()
    assert statistics.totals() == {"published": {"orders": 4}}
    at = clock.now(connections.database())
    assert [set(one.roles) for one in statistics.processes(at - timedelta(hours=1))] == [{"relay"}]


def test_what_is_in_the_totals_is_not_counted_again_if_the_minute_fails(monkeypatch):
    here = Telemetry()
    here.count("published", "orders", 3)

    def away(self, minute, counts):
        raise StoreUnavailable

    monkeypatch.setattr(Telemetry, "_write_minute", away)
    here.flush()
    here.flush()
    assert statistics.totals() == {"published": {"orders": 3}}


def test_it_is_written_by_itself_within_some_seconds():
    telemetry.telemetry.count("published", "orders")
    ends = time.monotonic() + 10
    while not statistics.totals():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_process_that_lives_shortly_is_seen(commands):
    here = Telemetry()
    here.count("published", "orders")
    here.flush()
    here.alive("relay")  # starts its thread
    here.farewell()
    at = clock.now(connections.database())
    assert [set(one.roles) for one in statistics.processes(at - timedelta(hours=1))] == [{"relay"}]


def test_signs_of_life_are_written_every_few_seconds_only(commands):
    here = Telemetry()
    for _ in range(5):
        here.alive("relay")
        here.flush()
    assert commands.on(telemetry.PROCESSES) == [("update", telemetry.PROCESSES)]


def test_a_forked_child_counts_for_itself_only():
    here = telemetry.telemetry
    here.count("published", "orders", 3)
    if (pid := os.fork()) == 0:
        try:
            here.count("published", "stock")
            here.flush()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    here.flush()
    assert statistics.totals() == {"published": {"orders": 3, "stock": 1}}


def test_nothing_is_written_where_it_is_turned_off(settings, commands):
    settings.OUTBOX_STATISTICS = False
    here = Telemetry()
    here.count("published", "orders", 3)
    here.alive("relay")
    here.breaker("letters", "open")
    here.flush()
    assert commands.on(telemetry.STATISTICS, telemetry.PROCESSES) == []


def test_a_process_that_has_nothing_to_say_writes_nothing(commands):
    here = Telemetry()
    here.flush()
    assert commands.on(telemetry.STATISTICS, telemetry.PROCESSES) == []


def test_the_way_of_a_message_is_counted(redis, caplog):
    caplog.set_level(logging.CRITICAL)
    for number in range(5):
        write(f"n{number}")
    assert Relay("notes").sweep() == 10
    stage = Stage("recorded")
    stage.consumer().drain()
    add(redis, event("n1", 1, eventId=new_id()))
    stage.consumer().drain()
    telemetry.telemetry.flush()
    found = statistics.totals()
    assert found["stored"] == found["published"] == {"notes": 5, "notes-internal": 5}
    assert found["handled"] == {"titles": 5}
    assert found["repeats"] == {"titles": 1}
    assert sum(n for b, n in found["publish_seconds"]["notes"].items() if b != "sum") == 5
    assert sum(n for b, n in found["handle_seconds"]["titles"].items() if b != "sum") == 5
    assert sum(n for b, n in found["consume_seconds"]["titles"].items() if b != "sum") == 5
    assert found["batch_size"]["notes"]["sum"] == 10


def test_failures_and_dead_letters_are_counted(redis, monkeypatch):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 0.0)

    def fail(event, delivery):
        raise RuntimeError

    stage = Stage("recorded", before=fail, max_attempts=3)
    add(redis, event("n1", 1))
    for _ in range(6):
        stage.consumer().drain()
    telemetry.telemetry.flush()
    found = statistics.totals()
    assert (found["failures"], found["dead_letters"]) == ({"titles": 2}, {"titles": 1})


def test_both_collections_expire(mongo):
    minutes = mongo[telemetry.STATISTICS].index_information()[telemetry.STATISTICS_TTL]
    processes = mongo[telemetry.PROCESSES].index_information()[telemetry.PROCESSES_TTL]
    assert minutes["expireAfterSeconds"] == 25 * 3600
    assert processes["expireAfterSeconds"] == 3600


def test_on_mongomock_it_is_written_at_once(settings):
    settings.OUTBOX_MONGODB_URI = "mongomock://"
    settings.OUTBOX_MONGODB_DATABASE = f"unit_{new_id()}"
    telemetry.telemetry.count("published", "orders", 3)
    assert statistics.totals() == {"published": {"orders": 3}}
