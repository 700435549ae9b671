"""Redis without memory, read-only or away: nothing is lost, and only who is at fault pays."""

import time

import pytest

from config import embedded
from outbox import connections
from outbox.errors import BrokerUnavailable
from outbox.relay import Relay
from tests import notes
from tests.faults.length import times
from tests.faults.writers import Writers


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with embedded.Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def redis_url(server):
    """A server of this file's own: it is killed."""
    return server.url


def write(*ids, changes=2):
    repository = notes.repository()
    for note_id in ids:
        note = notes.Note(note_id)
        for change in range(changes):
            note.write(str(change))
            repository.save(note) if change else repository.add(note)


def attempts(mongo):
    """Of each note that waits, the attempts of its messages; None for one that wasn't charged."""
    return {
        one["_id"]: [entry.get("attempts") for entry in one["outbox"]["pending"]]
        for one in mongo["notes"].find({"outbox.pending.0": {"$exists": True}})
    }


def sweep_for(seconds):
    """Sweep again and again; the number of times that the broker wasn't there."""
    ends, away = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        try:
            Relay("notes").sweep()
        except BrokerUnavailable:
            away += 1
        time.sleep(0.05)
    return away


def test_a_message_that_redis_has_no_memory_for_is_charged_and_published_later(
    mongo, redis, account
):
    write("n1", "n2")
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", 1)
    try:
        assert sweep_for(0.5) == 0
        for first, *behind in attempts(mongo).values():
            assert first >= 2
            assert behind == [None] * 3
        [error] = mongo["notes"].distinct("outbox.pending.last_error")
        assert "OOM" in error or "maxmemory" in error
    finally:
        redis.config_set("maxmemory", 0)
    assert not account()


def test_memory_that_runs_out_under_load_loses_nothing(mongo, redis, account):
    with Writers() as writers:
        for _ in range(times(1, 30)):
            used = redis.info("memory")["used_memory"]
            redis.config_set("maxmemory", used + 20_000)  # some, and then none
            try:
                sweep_for(0.5)
            finally:
                redis.config_set("maxmemory", 0)
            sweep_for(0.2)
    assert not account(acknowledged=writers.acknowledged)


def test_a_redis_that_has_become_a_replica_burns_nobodys_attempts(mongo, redis, account):
    write("n1", "n2")
    redis.replicaof("127.0.0.1", 1)
    try:
        assert sweep_for(1.5) >= 2
        write("n3")
        assert attempts(mongo) == {one: [None] * 4 for one in ("n1", "n2", "n3")}
    finally:
        redis.replicaof("no", "one")
    assert not account()


def test_a_redis_that_was_demoted_under_load_loses_nothing(mongo, redis, account):
    with Writers() as writers:
        sweep_for(0.3)
        redis.replicaof("127.0.0.1", 1)
        try:
            assert sweep_for(0.5) >= 1
            assert {one for all in attempts(mongo).values() for one in all} == {None}
        finally:
            redis.replicaof("no", "one")
        sweep_for(0.3)
    assert not account(acknowledged=writers.acknowledged)


def test_a_redis_that_is_killed_and_comes_back_burns_nobodys_attempts_and_loses_nothing(
    mongo, redis, server, account
):
    with Writers() as writers:
        sweep_for(0.3)
        server.process.kill()
        try:
            assert sweep_for(1.5) >= 2
            waiting = attempts(mongo)
            assert waiting
            assert {one for all in waiting.values() for one in all} == {None}
        finally:
            server.start()
        sweep_for(0.3)
    assert not account(acknowledged=writers.acknowledged)


def test_a_redis_that_hangs_burns_nobodys_attempts(mongo, redis, redis_url, settings, account):
    settings.OUTBOX_REDIS_TIMEOUT = 0.2
    write("n1")
    connections.redis_client().ping()
    redis.client_pause(700, all=False)
    assert sweep_for(0.6) >= 1
    assert attempts(mongo) == {"n1": [None] * 4}
    redis.client_unpause()
    assert not account()
