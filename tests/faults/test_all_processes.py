"""The whole project under load, with all of its processes killed and stopped at random moments."""

import random
import time

from tests.e2e.running import AGGREGATES, TOPICS
from tests.e2e.shop import Shop
from tests.faults import checker
from tests.faults.length import times

PROCESSES = ("web", "worker", "beat", "consumer", "mongod", "redis")
#: A few of the first are there, so that they run out; there are enough of the last.
ON_HAND = {"SCARCE": 30, "RARE": 150, "PLENTY": 100_000}


def kill(running, name):
    before = running.pid(name)
    running.kill(name)
    running.restarted(name, before, within=60)


def pause(running, name):
    """Stop it, often for longer than a lease lasts (2 s in these tests)."""
    running.stop(name)
    try:
        time.sleep(random.uniform(0.1, 4.0))
    finally:
        running.go_on(name)


def strikes():
    """What is done to which process; each once in each way, then at random."""
    found = [(how, name) for how in (kill, pause) for name in PROCESSES]
    more = times(0, 200 - len(PROCESSES))
    found += [(kill, random.choice(PROCESSES)) for _ in range(more)]
    found += [(pause, random.choice(PROCESSES)) for _ in range(more // 5)]
    random.shuffle(found)
    return found


def test_nothing_is_lost_or_done_twice_whatever_process_is_killed_or_stopped(running):
    shop = Shop(running, **ON_HAND)
    with shop.open():
        for how, name in strikes():
            time.sleep(random.uniform(0.0, 1.0))
            how(running, name)
    shop.check(within=120)
    documents = [found for name in AGGREGATES for found in running.database[name].find()]
    assert not checker.check(documents, checker.streams(running.redis, TOPICS))
    # And all of it still works.
    order_id = shop.place(("PLENTY", 1))
    assert shop.pay(order_id)
    assert shop.ship(order_id, within=20)
    shop.check()
