"""The main job, end to end: an order placed over HTTP is on the stream, whatever is killed."""

import random
import re
import statistics
import time

EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_what_eight_clients_do_at_once_arrives_as_designed(running):
    running.live(24)
    running.until_dispatched()
    running.check()
    assert running.versions() == {4: 24}
    for _, event in running.events("orders"):
        assert list(event) == [
            "eventType",
            "eventId",
            "timestamp",
            "version",
            "aggregateId",
            "sequenceNumber",
            "payload",
            "metadata",
        ]
        assert EVENT_ID.fullmatch(event["eventId"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
        assert set(event["metadata"]) == {"correlationId", "causationId", "traceparent"}
        if event["eventType"] == "OrderPlaced":
            assert event["payload"] == {
                "orderId": event["aggregateId"],
                "customerId": "cust-789",
                "items": [{"sku": "WIDGET-01", "quantity": 2}],
                "total": 99.98,
                "currency": "USD",
            }


def test_a_commit_wakes_the_relay_without_waiting_for_beat(running):
    time.sleep(5.5)  # wakes may be resting from a test in which Redis was away
    running.stop("beat")
    try:
        for _ in range(5):
            running.place()
            running.until_dispatched(within=20)
    finally:
        running.go_on("beat")
    running.check()


def test_commands_go_on_while_worker_and_beat_stand_still(running):
    running.stop("worker")
    running.stop("beat")
    try:
        running.live(8)
        assert running.pending() == 8 * 4 * 2
    finally:
        running.go_on("worker")
        running.go_on("beat")
    running.until_dispatched()
    running.check()


def test_commands_go_on_while_redis_hangs_and_only_the_first_few_notice(running):
    usual = statistics.median(running.live(8))
    running.stop("redis")
    try:
        taken = running.live(24)
        # Did each wait for its wake, it would be more than that.
        assert statistics.median(taken) < usual + 0.25
    finally:
        running.go_on("redis")
    running.until_dispatched()
    running.check()


def test_nothing_is_lost_when_redis_is_killed(running):
    def kill():
        time.sleep(0.5)
        running.kill("redis")

    running.live(24, meanwhile=kill)
    running.until_dispatched()
    running.check()


def test_nothing_is_lost_and_order_holds_when_the_worker_is_killed_again_and_again(running):
    def kill():
        for _ in range(6):
            time.sleep(random.uniform(0.2, 1.2))
            before = running.pid("worker")
            running.kill("worker")
            while running.pid("worker") == before:
                time.sleep(0.05)

    running.live(60, meanwhile=kill)
    running.until_dispatched()
    running.check()
