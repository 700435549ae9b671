"""The same with many documents stored as with few, and a backlog at its start as at its end."""

import resource
import statistics
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from django.test import override_settings

from benchmarks import consumers, stage
from outbox import connections, signals
from outbox.consumer import Consumer
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
    """A backlog drained by the relay, and then by a consumer: pace and memory, start and end."""
    stage.clear()
    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    consumers.clear(subscriber)
    stage.fill(documents, events=1)
    relay, published = Relay(stage.COLLECTION), []

    def count(messages, **kwargs):
        published.append(len(messages))

    def sweep():
        while sum(published) < documents:
            relay.sweep()

    signals.messages_published.connect(count)
    with override_settings(OUTBOX_RETENTION=None):
        yield from _watched(f"relay, backlog of {documents:,}", sweep, lambda: sum(published))
    consumer = Consumer(subscriber, consumers.TOPIC, bus=None)
    handled = partial(consumer.counts.__getitem__, "handled")
    yield from _watched(f"consumer, backlog of {documents:,}", consumer.drain, handled)
    assert handled() == documents, f"{handled()} handled"
    consumers.clear(subscriber)


def _watched(name, work, done):
    """How much of the work is done, and the memory it takes, looked at once a second."""
    looks, ended = [(time.perf_counter(), 0, memory())], threading.Event()

    def look():
        while not ended.wait(1.0):
            looks.append((time.perf_counter(), done(), memory()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    pace = [(after[1] - one[1]) / (after[0] - one[0]) for one, after in pairwise(looks)]
    used = [megabytes for *_, megabytes in looks]
    tenth = max(1, len(pace) // 10)
    what = f"{name}: last tenth / first"
    yield stage.summary(what, pace[-tenth:], pace[:tenth], "messages/s", "at least 0.9")
    yield stage.summary(f"{name}: memory", used[-tenth:], used[:tenth], "MB", "flat")


def memory():
    """Megabytes that this process has in memory; where there is no /proc, at most had."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [one for one in status.read_text().splitlines() if one.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
