"""Errors of MongoDB's, by its own fail points: what is told stored is, and nothing else is said."""

from contextlib import suppress

import pytest

from outbox.errors import StoreUnavailable, Superseded
from outbox.relay import Relay
from tests import notes
from tests.faults.consumption import until_consumed
from tests.faults.length import IS_LONG
from tests.faults.writers import Writers
from tests.integration.outbox.consuming import Stage, eventually, letters


def concern(code, **more):
    return {"writeConcernError": {"code": code, "errmsg": "by fail point", **more}}


#: What the server does: refuses, goes away, or does it and can't say that a majority has it.
FAULTS = {
    "disk full": {"errorCode": 14031},
    "not the primary": {"errorCode": 10107},
    "stepped down": {"errorCode": 189},
    "shutting down": {"errorCode": 91},
    "out of time": {"errorCode": 50},
    "connection closed": {"closeConnection": True},
    "stored, then stepped down": concern(11602),
    "stored, then shutting down": concern(91),
    "stored, by no majority in time": concern(64, errInfo={"wtimeout": True}),
}
SHORT = ("disk full", "stored, then stepped down")
SAVES = ("insert", "update")
#: The requests of a relay and of a consumer: command and collection.
RELAY = {
    "find": ("find", "notes"),
    "lease": ("update", "outbox_leases"),
    "archive": ("insert", "outbox_dispatched"),
    "pull": ("update", "notes"),
}
CONSUMER = {
    "lease": ("update", "outbox_leases"),
    "note": ("insert", "outbox_inbox"),
    "cursor": ("insert", "outbox_cursors"),
    "commit": ("commitTransaction", None),
}
each_fault = pytest.mark.parametrize("fault", FAULTS if IS_LONG else SHORT)


@pytest.fixture(autouse=True)
def _quick_to_notice(mongo, mongodb_uri, settings):
    # A primary that says that it is none is looked at again when it announces that it is one; this
    # one has never ceased to be, so it has to be asked.
    often = "serverMonitoringMode=poll&heartbeatFrequencyMS=500"
    settings.OUTBOX_MONGODB_URI = f"{mongodb_uri}&{often}"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.8


@pytest.fixture
def fail_at(mongo, fail):
    """Has one command fail on one collection, until `fail.stop`."""

    def failing(request, fault):
        command, collection = request
        where = {"namespace": f"{mongo.name}.{collection}"} if collection else {}
        fail(command, **where, **FAULTS[fault])

    return failing


def in_time(act):
    """What `act` returns, once MongoDB can be reached again."""

    def acted():
        with suppress(StoreUnavailable):
            return [act()]

    return eventually(acted)[0]


@each_fault
@pytest.mark.parametrize("command", SAVES)
def test_a_command_is_stored_or_refused_in_the_outboxs_own_words(
    mongo, redis, account, fail, fail_at, fault, command
):
    repository, note = notes.repository(), notes.Note("n1")
    if command == "update":
        note.write("before")
        repository.add(note)
    before = note.version
    note.write("hello")
    save = repository.save if before else repository.add
    fail_at((command, "notes"), fault)
    with suppress(StoreUnavailable):
        save(note)
    told = note.version
    fail.stop()
    stored = mongo["notes"].find_one({"text": "hello"})
    if stored is None:
        # It is refused, and so it can be saved again as it is.
        assert told == before
        in_time(lambda: save(note))
        stored = mongo["notes"].find_one({"text": "hello"})
    assert stored["version"] == before + 1
    assert not account(acknowledged={"n1": told})


@each_fault
@pytest.mark.parametrize("request_", RELAY)
def test_a_relay_loses_nothing_and_charges_nobody(
    mongo, redis, account, fail, fail_at, fault, request_
):
    if request_ == "find" and "writeConcernError" in FAULTS[fault]:
        pytest.skip("a read has no write concern")
    with Writers(clients=1) as writers:
        writers.until(1)
    fail_at(RELAY[request_], fault)
    for _ in range(2):
        with suppress(StoreUnavailable):
            Relay("notes").sweep()
    fail.stop()
    assert not mongo["notes"].find_one({"outbox.pending.attempts": {"$exists": True}})
    assert not account(acknowledged=writers.acknowledged)


@each_fault
@pytest.mark.parametrize("request_", CONSUMER if IS_LONG else ["lease", "commit"])
@pytest.mark.parametrize("kind", ["projection", "embedded"] if IS_LONG else ["projection"])
def test_a_consumer_has_every_effect_once_and_gives_nothing_up(
    mongo, redis, account, fail, fail_at, settings, fault, request_, kind
):
    settings.OUTBOX_MAX_ATTEMPTS = 100
    with Writers(clients=1, changes=4) as writers:
        writers.until(2)
    assert not account()
    stage = Stage(kind)
    fail_at(CONSUMER[request_], fault)
    with suppress(StoreUnavailable, Superseded):
        stage.drain()
    fail.stop()
    until_consumed(redis, stage)
    assert not account(effects={"notes": stage.seen()})
    assert letters() == []
