"""The Celery tasks, run in this process against real servers."""

import time

import pytest
from kombu.exceptions import OperationalError

from config.celery import app
from outbox import relay, tasks
from outbox import wake as announcement
from outbox.relay import Relay
from tests import notes
from tests.notes import Note


@pytest.fixture
def queued(monkeypatch):
    found = []

    def apply_async(args, **options):
        found.append((*args, options))

    monkeypatch.setattr(tasks.sweep_partition, "apply_async", apply_async)
    return found


@pytest.fixture
def _notes(monkeypatch):
    monkeypatch.setattr(tasks, "relays", lambda: [Relay("notes")])


def write(id):
    note = Note(id)
    note.write("hello")
    notes.repository().add(note)


def test_one_task_is_queued_per_partition_however_many_commits_there_are(redis, queued):
    for _ in range(5):
        tasks.wake("notes", 1)
        tasks.wake("notes", 2)
    assert [(collection, partition) for collection, partition, _ in queued] == [
        ("notes", 1),
        ("notes", 2),
    ]
    for *_, options in queued:
        assert options["producer"].connection.transport_options["socket_timeout"] == 0.25
        assert (options["expires"], options["retry"]) == (5, False)


def test_the_announcement_of_a_dead_worker_runs_out(redis, queued):
    tasks.wake("notes", 1)
    assert 0 < redis.ttl(announcement.key("notes", 1)) <= announcement.ANNOUNCED_FOR


def test_a_commit_during_the_sweep_is_announced_again(mongo, redis, queued, monkeypatch):
    """The key is deleted before the sweep: one announced after it must not be missed."""
    tasks.wake("notes", 1)
    monkeypatch.setattr(
        "outbox.relay.Relay.sweep_partition", lambda self, partition: tasks.wake("notes", 1)
    )
    tasks.sweep_partition("notes", 1)
    assert len(queued) == 2


def test_the_wakes_task_publishes_its_partition(mongo, redis):
    write("n1")
    tasks.sweep_partition("notes", 4)
    assert redis.xlen("notes") == redis.xlen("notes-internal") == 1


@pytest.mark.usefixtures("_notes")
def test_the_sweep_publishes_every_collection(mongo, redis):
    write("n1")
    write("n2")
    tasks.sweep()
    assert redis.xlen("notes") == 2


@pytest.mark.usefixtures("_notes")
def test_a_broker_or_store_that_is_away_ends_the_sweep_and_loses_nothing(mongo, settings, caplog):
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    write("n1")
    relay._breaker.cache_clear()
    for _ in range(3):
        tasks.sweep()  # the test settings' Redis is away
        tasks.sweep_partition("notes", 4)
    assert caplog.text.count("relay rests, its circuit breaker is open") == 1
    # For the announcement.
    assert caplog.text.count("Relays wait, nothing is lost: Redis can't be reached: ") == 1
    assert "Relays go on" not in caplog.text
    assert len(mongo["notes"].find_one()["outbox"]["pending"]) == 2


def test_beat_sweeps_every_second_and_late_ticks_are_dropped():
    entry = app.conf.beat_schedule["outbox-sweep"]
    assert entry == {
        "task": "outbox.tasks.sweep",
        "schedule": 1.0,
        "options": {"expires": 1.0},
    }


def test_a_broker_that_hangs_keeps_a_wake_no_longer_than_the_bound(redis, monkeypatch):
    monkeypatch.setattr(app.conf, "broker_write_url", tasks.conf.REDIS_URL)
    monkeypatch.setattr(announcement, "announce", lambda collection, partition: True)
    tasks.wake("notes", 1)  # the connection is there
    redis.client_pause(2000)
    try:
        began = time.monotonic()
        with pytest.raises(OperationalError):
            tasks.wake("notes", 1)
        assert time.monotonic() - began < 1.5
    finally:
        redis.client_unpause()
