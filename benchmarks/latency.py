"""From commit to stream: how long after a `save` has returned its event is on the stream.

Against a bare write and then an XADD by the same process, which is what an outbox is there to
avoid, since a crash in between loses the event. A relay that is told of the commit before `save`
has returned can be there sooner: then no time is counted.
"""

import json
import statistics
import threading
import time
import uuid

from django.test import override_settings

from benchmarks import processes, stage
from outbox import connections
from outbox.wake import ANNOUNCED_FOR

TOPIC = "orders"

#: Ways to be told of a commit: the process that relays, and what `OUTBOX_WAKE` is meanwhile.
WAYS = {
    "outbox_relay": (processes.relay, None),
    "Celery's wake": (processes.celery, "outbox.tasks.wake"),
    "Celery's wake, solo pool": (lambda: processes.celery("-P", "solo"), "outbox.tasks.wake"),
    "beat alone": (lambda: processes.celery("-B"), None),
}


def run(way, rate, seconds):
    """Commits at a rate, evenly; floor and ours one after the other, at each second's change."""
    stage.clear()
    start, wake = WAYS[way]
    with override_settings(OUTBOX_WAKE=wake), start(), Arrivals() as arrivals:
        commit = Commits()
        _warm_up(commit, arrivals)
        ours, floor = {}, {}
        begin = time.monotonic()
        for number in range(int(rate * seconds)):
            if (wait := begin + number / rate - time.monotonic()) > 0:
                time.sleep(wait)
            # A second of ours, a second of the floor.
            if int(number / rate) % 2:
                floor.update([commit.bare()])
            else:
                ours.update([commit.ours()])
        reached = (len(ours) + len(floor)) / (time.monotonic() - begin)
        taken = arrivals.since(ours), arrivals.since(floor)
    name = f"commit to stream, {way}, {rate}/s"
    bars = {
        ("outbox_relay", 20): ("at most 2 ms", "at most 7 ms"),
        ("Celery's wake", 20): ("at most 8 ms", "at most 30 ms"),
        ("Celery's wake, solo pool", 20): ("at most 8 ms", "at most 30 ms"),
    }.get((way, rate), ("", ""))
    for what, at, bar in zip(("p50", "p99"), (50, 99), bars, strict=True):
        mine, bare = (_percentile(one, at) for one in taken)
        yield {
            "name": f"{name}: {what}",
            "unit": "ms",
            "ours": mine,
            "ours_range": [min(taken[0]), max(taken[0])],
            "floor": bare,
            "floor_range": [min(taken[1]), max(taken[1])],
            "ratio": mine / bare,
            "bar": bar,
            "note": f"{reached:.0f} commits a second, {len(ours)} of them ours in all",
        }


class Commits:
    """One commit after the other, each of another order."""

    def __init__(self):
        self._documents = connections.database()[stage.COLLECTION]
        self._redis = connections.redis_client()

    def ours(self):
        """The order's id, and when its save had returned."""
        order = stage.Order(str(uuid.uuid4()))
        order.change("paid")
        stage.orders.add(order)
        return order.id, time.monotonic()

    def bare(self):
        order = stage.Order(str(uuid.uuid4()))
        self._documents.insert_one({"_id": order.id, **stage.orders.to_document(order)})
        committed = time.monotonic()
        event = {"aggregateId": order.id, "payload": {"note": order.note}}
        self._redis.xadd(TOPIC, {"event": json.dumps(event)})
        return order.id, committed


class Arrivals:
    """Reads the stream in a thread, and notes when each event was there."""

    def __init__(self):
        self._seen, self._ended = {}, threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _read(self):
        redis, last = connections.redis_client(4.0), "0"
        while not self._ended.is_set():
            for _, entries in redis.xread({TOPIC: last}, block=500) or ():
                now = time.monotonic()
                for entry_id, fields in entries:
                    last = entry_id
                    found = json.loads(fields[b"event"])["aggregateId"]
                    self._seen.setdefault(found, now)

    def has(self, aggregate_id):
        return aggregate_id in self._seen

    def since(self, committed):
        """Milliseconds from each commit to the arrival; waits for the last."""
        ends = time.monotonic() + 20
        while missing := [one for one in committed if not self.has(one)]:
            assert time.monotonic() < ends, f"{len(missing)} events never came"
            time.sleep(0.05)
        # An event that overtakes its save's return took no time at all.
        return [max(0.0, self._seen[one] - at) * 1000 for one, at in committed.items()]


def _warm_up(commit, arrivals):
    """Until the relay is there and has met its partitions.

    Celery drops a wake that it comes to late, as when it is still starting, and nothing sweeps
    beside it here: so it takes more commits, and not only more patience.
    """
    ends, met = time.monotonic() + 120, 0
    while met < 3:
        assert time.monotonic() < ends, "no relay came"
        sent, again = [commit.ours()[0] for _ in range(40)], time.monotonic() + ANNOUNCED_FOR + 1
        while not (there := all(map(arrivals.has, sent))) and time.monotonic() < again:
            time.sleep(0.05)
        met += there
    time.sleep(1.0)


def _percentile(values, at):
    return statistics.quantiles(values, n=100, method="inclusive")[at - 1]
