"""A relay or a consumer in a process of its own, at work until nothing is left, whenever told to.

`python -m benchmarks.sweeper [consumer]`
"""

import sys
import time

import django
from django.test import override_settings

from benchmarks import consumers, stage
from outbox.consumer import Consumer
from outbox.management.base import keep_what_is_loaded
from outbox.relay import Relay


def relaying():
    """A function that sweeps all there is."""
    relay = Relay(stage.COLLECTION)
    next(relay.due_partitions(), None)  # its connection is open

    def sweep():
        published = 0
        while (more := relay.sweep()) or next(relay.due_partitions(), None) is not None:
            published += more
            if not more:
                time.sleep(0.01)  # the other has what is left
        return published

    return sweep


def consuming():
    """A function that has a projection consume all there is."""
    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    return lambda: Consumer(subscriber, consumers.TOPIC, bus=None).drain()["handled"]


def main():
    work = consuming() if "consumer" in sys.argv else relaying()
    keep_what_is_loaded()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(work(), flush=True)


if __name__ == "__main__":
    django.setup()
    with override_settings(OUTBOX_RETENTION=None):
        main()
