"""Consumption: what the tests of consumers that fail have in common."""

import threading
import time
from contextlib import contextmanager, suppress

from outbox.errors import BrokerUnavailable, StoreUnavailable, Superseded
from outbox.relay import Relay
from tests.faults.length import PATIENCE
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import eventually

AWAY = (BrokerUnavailable, StoreUnavailable, Superseded)


@contextmanager
def relaying():
    """A relay that sweeps for as long as the block lasts."""
    ended, relay = threading.Event(), Relay("notes")

    def sweep():
        while not ended.wait(0.005):
            with suppress(*AWAY):
                relay.sweep()

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def until_consumed(redis, stage, within=PATIENCE):
    """Consume to the end of the stream and of what is deferred, whatever goes wrong before."""

    def consumed():
        with suppress(*AWAY):
            stage.drain()
            group = next(iter(redis.xinfo_groups("notes")), None)
            last = redis.xinfo_stream("notes")["last-generated-id"]
            done = group and group["last-delivered-id"] == last and not group["pending"]
            return done and not consuming.waiting()
        time.sleep(0.05)
        return False

    eventually(consumed, within)
