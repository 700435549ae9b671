import threading
import time
from datetime import timedelta

import pytest
from pymongo.database import Database
from pymongo.errors import AutoReconnect, PyMongoError

from outbox import clock, connections
from outbox.lease import COLLECTION, Lease


@pytest.fixture
def lease(mongo):
    return lambda seconds=5.0: Lease(mongo, "relay:notes:1", seconds)


def test_one_holds_a_lease_at_a_time(lease):
    first, second = lease(), lease()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()


def test_the_lease_of_a_dead_holder_runs_out(lease):
    assert lease(0.2).acquire()
    heir = lease()
    assert not heir.acquire()
    time.sleep(0.3)
    assert heir.acquire()


def test_keeping_renews_a_lease_that_is_half_gone_and_leaves_a_fresh_one_alone(lease, mongo):
    held = lease(0.4)
    held.acquire()
    expiry = mongo[COLLECTION].find_one()["expires_at"]
    assert held.keep()
    assert mongo[COLLECTION].find_one()["expires_at"] == expiry
    time.sleep(0.3)
    assert held.keep()
    assert mongo[COLLECTION].find_one()["expires_at"] > expiry


def test_a_holder_that_slept_past_its_lease_finds_out(lease):
    sleeper = lease(0.2)
    sleeper.acquire()
    time.sleep(0.3)
    heir = lease()
    assert heir.acquire()
    assert not sleeper.held()
    assert not sleeper.keep()


def test_releasing_a_lease_that_has_passed_on_does_no_harm(lease):
    sleeper = lease(0.2)
    sleeper.acquire()
    time.sleep(0.3)
    heir = lease()
    heir.acquire()
    sleeper.release()
    assert heir.keep()
    assert not lease().acquire()


def test_a_jump_of_the_hosts_clock_takes_no_lease_away(lease, monkeypatch):
    held, other = lease(), lease()
    held.acquire()
    wrong = time.time() + 600
    monkeypatch.setattr(time, "time", lambda: wrong)
    assert not other.acquire()
    assert held.held()


def server_now(mongo):
    [server] = mongo.aggregate([{"$documents": [{}]}, {"$project": {"now": "$$NOW"}}])
    return server["now"]


@pytest.fixture
def _measured_anew():
    clock._offsets.clear()
    yield
    clock._offsets.clear()


@pytest.mark.usefixtures("_measured_anew")
def test_the_clock_is_the_servers_in_whole_milliseconds(mongo):
    assert abs((clock.now(mongo) - server_now(mongo)).total_seconds()) < 5
    assert clock.now(mongo).microsecond % 1000 == 0


@pytest.mark.usefixtures("_measured_anew")
def test_a_server_that_is_ten_minutes_ahead_of_this_host_is_right(mongo, monkeypatch):
    command, ahead = Database.command, timedelta(minutes=10)

    def ahead_of_us(self, name, *args, **kwargs):
        answer = command(self, name, *args, **kwargs)
        return {**answer, "localTime": answer["localTime"] + ahead} if name == "hello" else answer

    monkeypatch.setattr(Database, "command", ahead_of_us)
    assert abs(clock.now(mongo) - server_now(mongo) - ahead) < timedelta(seconds=5)
    Lease(mongo, "relay:notes:1", 5.0).acquire()
    expires_at = mongo[COLLECTION].find_one()["expires_at"]
    assert expires_at > server_now(mongo) + timedelta(minutes=9)


@pytest.mark.usefixtures("_measured_anew")
def test_the_timezone_of_the_host_does_not_matter(mongo, monkeypatch):
    try:
        with monkeypatch.context() as host:
            host.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            assert abs((clock.now(mongo) - server_now(mongo)).total_seconds()) < 5
    finally:
        time.tzset()


@pytest.mark.usefixtures("_measured_anew")
def test_a_server_that_stalls_is_not_taken_to_be_seconds_off(mongo, monkeypatch):
    right, began, command = clock.now(mongo), time.monotonic(), Database.command

    def stalling(self, *args, **kwargs):
        answer = command(self, *args, **kwargs)
        time.sleep(0.3)
        return answer

    clock._offsets[id(mongo.client)] = clock._offsets[id(mongo.client)]._replace(until=0.0)
    monkeypatch.setattr(Database, "command", stalling)
    passed = clock.now(mongo) - right
    assert abs(passed.total_seconds() - (time.monotonic() - began)) < 0.1


@pytest.mark.usefixtures("_measured_anew")
def test_while_one_thread_asks_the_server_the_others_go_on_with_what_is_known(mongo, monkeypatch):
    clock.now(mongo)
    clock._offsets[id(mongo.client)] = clock._offsets[id(mongo.client)]._replace(until=0.0)
    asked, answer = threading.Event(), threading.Event()

    def hanging(client):
        asked.set()
        answer.wait(5)
        raise AutoReconnect

    monkeypatch.setattr(clock, "_measure", hanging)
    first = threading.Thread(target=clock.now, args=(mongo,))
    first.start()
    assert asked.wait(5)
    began = time.monotonic()
    clock.now(mongo)
    assert time.monotonic() - began < 1
    answer.set()
    first.join()


def test_the_first_measurement_must_succeed(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    with pytest.raises(PyMongoError):
        clock.now(connections.database())
