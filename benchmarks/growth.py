"""The same with many documents stored as with few, and a backlog at its start as at its end."""

import math
import statistics
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

from django.test import override_settings

from benchmarks import consumers, floor, processes, stage
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
        for size in stage.turns(rounds, tuple(stages)):
            relay, repository, one = stages[size]
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


#: Who may drain a backlog.
WHO = ("relay", "the floor's relay", "consumer", "the floor's consumer")


def backlog(who, documents, history):
    """A backlog drained: the pace and the memory in the last tenth of the time, against the first.

    Ours by a process of its own, whose memory it is; the floor by this one. For `history` seconds
    MongoDB keeps what documents were, for those who read the past; 300 unless it is told otherwise.
    """
    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    stage.clear()
    consumers.clear(subscriber)
    database, redis = connections.database(), connections.redis_client()
    kind = "consumer" if "consumer" in who else "relay"
    if kind == "consumer":
        consumers.fill(documents, events=1, stored=False)
        by_floor = partial(consumers.by_floor, "projection")
        drained = database["outbox_inbox"].estimated_document_count
    else:
        stage.fill(documents, events=1)
        by_floor = partial(floor.relay, database[stage.COLLECTION], None, redis)
        drained = partial(redis.xlen, consumers.TOPIC)
    with _history(history):
        if who == kind:
            with processes.sweepers(1, kind) as drain:
                paces, memory = _watched(drain, drained, drain.pids[0])
        else:
            paces, memory = _watched(by_floor, drained)
    assert drained() == documents, f"{drained()} of {documents} drained"
    kept = "" if history else ", no history kept"
    name, bar = f"{who}, backlog of {documents:,}{kept}", "at least 0.9" if who == kind else ""
    yield stage.summary(f"{name}: last tenth / first", *_ends(paces), "messages/s", bar)
    if bar:
        yield stage.summary(f"{name}: memory", *_ends(memory), "MB", "at most 1.10")
    consumers.clear(subscriber)


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


def _watched(work, done, pid="self"):
    """How much is done a second, and the memory the process takes, looked at once a second."""
    looks, ended = [(time.perf_counter(), 0, memory(pid))], threading.Event()

    def look():
        while not ended.wait(1.0):
            looks.append((time.perf_counter(), done(), memory(pid)))

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


def memory(pid):
    """Megabytes that a process has in memory; nothing where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return math.nan
    [line] = [one for one in lines if one.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
