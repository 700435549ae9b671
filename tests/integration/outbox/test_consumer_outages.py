"""A Redis that can't serve consumers, for whatever reason: they wait, and go on when it can."""

import logging
import threading
import time

import pytest

from outbox import outages
from tests.integration.outbox.consuming import Stage, add, event, eventually

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(params=["redis", "valkey"])
def server(request):
    client = request.getfixturevalue(request.param)
    yield client
    client.replicaof("no", "one")


def test_a_broker_that_is_read_only_is_an_outage_and_told_once(server, caplog):
    outages.consumers.ended()
    caplog.clear()
    stage = Stage("recorded")
    consumer = stage.consumer()
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        add(server, event("n1", 1))
        eventually(lambda: stage.seen() == {"n1": [1]})
        eventually(lambda: server.info("clients")["blocked_clients"])  # it waits for events
        server.replicaof("127.0.0.1", 1)
        time.sleep(3)  # it tries again every second
        server.replicaof("no", "one")
        add(server, event("n1", 2))
        eventually(lambda: stage.seen() == {"n1": [1, 2]})
    finally:
        consumer.stop()
        thread.join(10)
    loud = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [(one.levelname, one.action) for one in loud] == [("WARNING", "outage")] * 2
    waits, goes_on = (one.getMessage() for one in loud)
    assert "nothing is lost: Redis can't serve consumers now: " in waits
    assert "go on after" in goes_on


def test_a_stream_that_is_none_is_an_outage_and_told_once(server, caplog):
    outages.consumers.ended()
    caplog.clear()
    server.set("notes", "something else")
    stage = Stage("recorded")
    consumer = stage.consumer()
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        time.sleep(2.5)
        server.delete("notes")
        add(server, event("n1", 1))
        eventually(lambda: stage.seen() == {"n1": [1]})
    finally:
        consumer.stop()
        thread.join(10)
    loud = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [(one.levelname, one.action) for one in loud] == [("WARNING", "outage")] * 2


def test_a_group_that_is_gone_is_told_of(server, caplog):
    stage = Stage("recorded")
    add(server, event("n1", 1))
    consumer = stage.consumer()
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        eventually(lambda: stage.seen() == {"n1": [1]})
        server.delete("notes")
        eventually(lambda: "titles is gone from notes" in caplog.text)
        add(server, event("n1", 2))
        eventually(lambda: stage.seen() == {"n1": [1, 2]})
    finally:
        consumer.stop()
        thread.join(10)
    assert caplog.text.count("outbox_replay") == 1
