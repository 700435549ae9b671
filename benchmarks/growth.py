"""The same with many documents stored as with few, and a backlog at its start as at its end."""

import resource
import statistics
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

from django.test import override_settings

from benchmarks import consumers, floor, stage
from outbox import connections
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


def backlog(who, documents, history):
    """A backlog drained: the pace and the memory at its end, against its start.

    For `history` seconds MongoDB keeps what documents were, for those who read the past; 300 unless
    it is told otherwise.
    """
    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    stage.clear()
    consumers.clear(subscriber)
    drain, drained = WHO[who](documents, subscriber)
    kept = "" if history else ", no history kept"
    name = f"{who}, backlog of {documents:,}{kept}"
    with override_settings(OUTBOX_RETENTION=None), _history(history):
        paces, memory = _watched(drain, drained)
    assert drained() == documents, f"{drained()} of {documents} drained"
    bar = "" if "floor" in who else "at least 0.9"
    yield stage.summary(f"{name}: last tenth / first", *_ends(paces), "messages/s", bar)
    if bar:
        yield stage.summary(f"{name}: memory", *_ends(memory), "MB", "flat")
    consumers.clear(subscriber)


def _relay(documents, subscriber):
    stage.fill(documents, events=1)
    relay, redis = Relay(stage.COLLECTION), connections.redis_client()

    def drain():
        while redis.xlen(consumers.TOPIC) < documents:
            relay.sweep()

    return drain, partial(redis.xlen, consumers.TOPIC)


def _floors_relay(documents, subscriber):
    stage.fill(documents, events=1)
    orders, redis = connections.database()[stage.COLLECTION], connections.redis_client()
    return partial(floor.relay, orders, None, redis), partial(redis.xlen, consumers.TOPIC)


def _consumer(documents, subscriber):
    consumers.fill(documents, events=1, stored=False)
    drain = Consumer(subscriber, consumers.TOPIC, bus=None).drain
    return drain, connections.database()["outbox_inbox"].estimated_document_count


def _floors_consumer(documents, subscriber):
    consumers.fill(documents, events=1, stored=False)
    drain = partial(consumers.by_floor, "projection")
    return drain, connections.database()["outbox_inbox"].estimated_document_count


#: Who drains it: a function that makes a backlog, and returns what drains it and how far that is.
WHO = {
    "relay": _relay,
    "the floor's relay": _floors_relay,
    "consumer": _consumer,
    "the floor's consumer": _floors_consumer,
}


@contextmanager
def _history(seconds):
    """Have MongoDB keep what documents were for so long."""
    admin, name = connections.database().client.admin, "minSnapshotHistoryWindowInSeconds"
    before = admin.command({"getParameter": 1, name: 1})[name]
    admin.command({"setParameter": 1, name: seconds})
    try:
        yield
    finally:
        admin.command({"setParameter": 1, name: before})


def _watched(work, done):
    """How much is done a second, and the memory it takes, looked at once a second."""
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
    paces = [(after[1] - one[1]) / (after[0] - one[0]) for one, after in pairwise(looks)]
    return paces, [megabytes for *_, megabytes in looks]


def _ends(values):
    """The last tenth and the first."""
    tenth = max(1, len(values) // 10)
    return values[-tenth:], values[:tenth]


def memory():
    """Megabytes that this process has in memory; where there is no /proc, at most had."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [one for one in status.read_text().splitlines() if one.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
