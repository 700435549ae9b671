"""A relay in a process of its own that sweeps until nothing is left, each time it is told to."""

import sys
import time

import django
from django.test import override_settings

from benchmarks import stage
from outbox.relay import Relay


def main():
    relay = Relay(stage.COLLECTION)
    next(relay.due_partitions(), None)  # its connection is open
    print("ready", flush=True)
    for _ in sys.stdin:
        published = 0
        while (more := relay.sweep()) or next(relay.due_partitions(), None) is not None:
            published += more
            if not more:
                time.sleep(0.01)  # the other has what is left
        print(published, flush=True)


if __name__ == "__main__":
    django.setup()
    with override_settings(OUTBOX_RETENTION=None):
        main()
