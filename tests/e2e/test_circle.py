"""The consumers, end to end: what was ordered comes to its end, whatever is killed meanwhile."""

import os
import random
import signal
import time

import pytest

from tests.e2e.shop import Shop

#: A few of the first are there, so that they run out; there are enough of the last.
ON_HAND = {"SCARCE": 30, "RARE": 150, "PLENTY": 5000}
#: CONSUMER_KILLS=30 for the long way.
CONSUMER_KILLS = int(os.environ.get("CONSUMER_KILLS", "4"))


def kill(running, name):
    before = running.pid(name)
    running.kill(name)
    running.restarted(name, before)


def until_consuming(running, pid=None):
    """Wait until all streams are read by this process, and by no other.

    Redis knows a process only once it has been given something.
    """
    wanted = {pid or running.pid("consumer")}
    running.until(lambda: all(pids == wanted for pids in running.consuming()), within=30)


def see_one_through(shop):
    """Whatever has happened, an order still comes to its end."""
    order_id = shop.place(("PLENTY", 1))
    assert shop.pay(order_id)
    assert shop.ship(order_id, within=20)
    assert shop.check().shipped


def test_nothing_is_lost_or_done_twice_when_the_consumer_is_killed_again_and_again(running):
    shop = Shop(running, **ON_HAND)
    with shop.open():
        for _ in range(CONSUMER_KILLS):
            time.sleep(random.uniform(0.0, 1.0))
            kill(running, "consumer")
            if random.random() < 0.7:
                until_consuming(running)
    assert shop.check().out_of_stock
    see_one_through(shop)


def test_nothing_is_lost_when_worker_consumer_and_redis_are_killed_in_turns(running):
    shop = Shop(running, **ON_HAND)
    with shop.open():
        for name in ("worker", "consumer", "redis", "consumer", "worker", "redis"):
            time.sleep(random.uniform(0.5, 1.5))
            kill(running, name)
    shop.check()
    see_one_through(shop)


def test_of_two_consumers_one_works_and_the_other_takes_over_when_it_is_paused(running):
    shop = Shop(running, **ON_HAND)
    see_one_through(shop)
    first = running.pid("consumer")
    until_consuming(running, first)
    with running.another_consumer() as second:
        with shop.open():
            time.sleep(2)
            assert all(pids == {first} for pids in running.consuming())
            running.stop("consumer")
            try:
                # The lease, and then some.
                until_consuming(running, second)
                order_id = shop.place(("PLENTY", 1))
                shop.pay(order_id)
                assert shop.ship(order_id, within=10)
            finally:
                running.go_on("consumer")
            time.sleep(2)
            # Most likely still the second; but on a busy machine its lease may have run out.
            running.until(lambda: all(len(pids) == 1 for pids in running.consuming()), within=20)
        shop.check()
    # It has left, and the first goes on.
    see_one_through(shop)


def test_a_consumer_that_is_asked_to_stop_does_so_in_time_and_loses_nothing(running):
    shop = Shop(running, **ON_HAND)
    with shop.open():
        until_consuming(running)
        before, asked = running.pid("consumer"), time.monotonic()
        os.kill(before, signal.SIGTERM)
        running.restarted("consumer", before)
        assert time.monotonic() - asked < 10
    shop.check()
    see_one_through(shop)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_lost_and_nothing_given_up_when_mongodb_is(running, how):
    shop = Shop(running, **ON_HAND)
    with shop.open():
        time.sleep(1)
        if how == "killed":
            kill(running, "mongod")
        else:
            running.stop("mongod")
            try:
                time.sleep(12)  # longer than OUTBOX_MONGODB_TIMEOUT
            finally:
                running.go_on("mongod")
        time.sleep(2)
    shop.check()
    see_one_through(shop)


def test_what_is_paid_for_while_the_consumer_stands_still_is_refunded_or_shipped(running):
    shop = Shop(running, SCARCE=5, PLENTY=1)
    see_one_through(shop)
    until_consuming(running)
    running.stop("consumer")
    try:
        placed = [shop.place(("SCARCE", 2), ("WIDGET-01", 1)) for _ in range(6)]
        for order_id in placed:
            assert shop.pay(order_id)
            assert shop.get(order_id)["awaiting_stock"]
    finally:
        running.go_on("consumer")
    circle = shop.check()
    assert len(circle.out_of_stock) == 4
    for order_id in placed:
        order = shop.get(order_id)
        if order_id in circle.out_of_stock:
            assert (order["status"], order["refund_due"]) == ("cancelled", True)
        else:
            assert (order["status"], order["refund_due"]) == ("paid", False)
            assert shop.ship(order_id)
    assert shop.check().shipped == 3
