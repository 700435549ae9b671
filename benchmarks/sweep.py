"""An empty sweep with many documents stored, against the same with few: milliseconds."""

import statistics
import time

from benchmarks import stage
from outbox.relay import Relay


def run(few, many, rounds, sweeps):
    """The two sizes take turns by the round, each in a collection of its own."""
    stage.clear()
    relays = {}
    for name, documents in (("few", few), ("many", many)):
        stage.fill(documents)
        collection = f"{stage.COLLECTION}_{name}"
        database = stage.connections.database()
        database[stage.COLLECTION].rename(collection, dropTarget=True)
        stage.ensure_indexes([stage.orders, collection])
        relays[name] = Relay(collection)
    found = {name: [] for name in relays}
    for _ in range(rounds):
        for name, relay in relays.items():
            found[name].append(statistics.median(_timed(relay) for _ in range(sweeps)))
    for relay in relays.values():
        database[relay.collection].drop()
    name = f"empty sweep at {many:,} documents / at {few:,}"
    return stage.summary(name, found["many"], found["few"], "ms, median", "at most 1.20")


def _timed(relay):
    start = time.perf_counter()
    assert relay.sweep() == 0
    return (time.perf_counter() - start) * 1000
