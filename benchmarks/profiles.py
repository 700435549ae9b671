"""Where our time goes: `python -m benchmarks.profiles [relay|save|projection]`.

Runs ours alone under cProfile, on servers of its own, and prints the functions that take the most.
cProfile makes every call slower, short ones the most: it says what is called how often, and what
is worth a look; how long something takes, the benchmarks say.
"""

import cProfile
import os
import pstats
import sys
from pathlib import Path

import django

from benchmarks.__main__ import servers

LINES = 25


def relay():
    """8,000 documents with a message each, partition by partition: what reads and publishes.

    What archives and pulls is done by a thread of its own, which isn't in the profile.
    """
    from benchmarks import stage
    from outbox.relay import Relay

    stage.clear()
    stage.fill(8_000, 1)
    one = Relay(stage.COLLECTION)
    partitions = list(one.due_partitions())
    return lambda: [one.sweep_partition(partition) for partition in partitions]


def save():
    """2,000 saves of an order with a message each."""
    from benchmarks import stage
    from outbox import connections

    stage.clear()
    stage.fill(1)
    documents = connections.database()[stage.COLLECTION]
    order = stage.orders.get(documents.find_one({}, {"_id": 1})["_id"])

    def saves():
        for number in range(2_000):
            if number % 500 == 0:
                documents.update_many({}, {"$set": {"outbox.pending": []}})
            order.change(f"status {number}")
            stage.orders.save(order)

    return saves


def projection():
    """A projection's consumer and 10,000 events of as many aggregates."""
    from benchmarks import consumers
    from outbox.consumer import Consumer

    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    consumers.clear(subscriber)
    consumers.fill(10_000, 1, stored=False)
    return Consumer(subscriber, consumers.TOPIC, bus=None).drain


WHAT = {one.__name__: one for one in (relay, save, projection)}


def main():
    chosen = sys.argv[1:] or list(WHAT)
    if unknown := [name for name in chosen if name not in WHAT]:
        sys.exit(f"There is no profile of {unknown[0]}; there are: {', '.join(WHAT)}.")
    with servers() as variables:
        os.environ |= variables | {"DJANGO_SETTINGS_MODULE": "benchmarks.project"}
        django.setup()
        for name in chosen:
            call, profile = WHAT[name](), cProfile.Profile()
            profile.runcall(call)
            print(f"{name}: {WHAT[name].__doc__}", flush=True)
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LINES)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
