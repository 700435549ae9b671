"""The same with many documents stored as with few, and a backlog at its start as at its end."""

import resource
import statistics
import time

from django.test import override_settings

from benchmarks import stage
from outbox import connections
from outbox.discovery import messaging
from outbox.pending import messages
from outbox.relay import Relay

BAR = "at most 1.15"
KINDS = ("empty sweep", "save", "sweep of one", "admin's list")


def run(few, many, rounds, times):
    """An empty sweep, one save and its sweep, and the admin's list; the sizes take turns."""
    stage.clear()
    database, stages = connections.database(), {}
    for size, documents in (("few", few), ("many", many)):
        collection = f"{stage.COLLECTION}_{size}"
        database.drop_collection(collection)
        stage.ensure_indexes([stage.orders, collection])
        stage.fill(documents, collection=collection)
        repository = type(size, (stage.Orders,), {"collection": collection})(stage.orders.mapping)
        one = repository.get(database[collection].find_one({}, {"_id": 1})["_id"])
        stages[size] = (Relay(collection), repository, one)
    found = {what: {"few": [], "many": []} for what in KINDS}
    with override_settings(OUTBOX_RETENTION=None):
        for _ in range(rounds):
            for size, (relay, repository, one) in stages.items():
                taken = {what: [] for what in found}
                for number in range(times):
                    taken["empty sweep"].append(stage.timed(relay.sweep))
                    one.change(f"status {number}")
                    taken["save"].append(stage.timed(repository.save, one))
                    taken["admin's list"].append(stage.timed(listed, repository))
                    taken["sweep of one"].append(stage.timed(relay.sweep))
                for what, values in taken.items():
                    found[what][size].append(statistics.median(values))
    for relay, *_ in stages.values():
        database.drop_collection(relay.collection)
    for what, sizes in found.items():
        name = f"{what}, {many:,} documents stored / {few:,}"
        yield stage.summary(name, sizes["many"], sizes["few"], "ms, median", BAR)


def listed(repository):
    """The admin's list, of this repository's collection and no other."""
    repositories = messaging().repositories
    before, repositories[:] = repositories[:], [repository]
    try:
        assert messages().messages, f"the list of {repository.collection} is empty"
    finally:
        repositories[:] = before


def backlog(documents):
    """Throughput in the last tenth against the first, and what memory grew by meanwhile."""
    stage.clear()
    stage.fill(documents, events=1)
    relay, pace, left = Relay(stage.COLLECTION), [], documents
    with override_settings(OUTBOX_RETENTION=None, OUTBOX_SWEEP_TIME=2.0):
        relay_memory = []
        while left:
            start = time.perf_counter()
            published = relay.sweep()
            pace.append((published, time.perf_counter() - start))
            relay_memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            left -= published
    tenth = max(1, len(pace) // 10)
    rates = [published / seconds for published, seconds in pace]
    name = f"backlog of {documents:,}: last tenth / first"
    yield stage.summary(name, rates[-tenth:], rates[:tenth], "messages/s", "at least 0.9")
    name = f"peak memory of the relay over {documents:,}: end / start"
    first = relay_memory[min(1, len(relay_memory) - 1)]
    yield stage.summary(name, [relay_memory[-1]], [first], "MB", "flat")
