"""Where our time goes: `python -m benchmarks.profiles [relay|save|wake|…]`.

Runs ours alone on servers of its own. A save, and what a wake has a worker do, under cProfile,
which makes every call slower, short ones the most: it says what is called how often; how long
something takes, the benchmarks say. What works with several threads is looked at 200 times a second
instead: what each thread is at, in our code and at the innermost. And of a backlog, what MongoDB
says of itself, tenth by tenth.
"""

import cProfile
import os
import pstats
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import django

from benchmarks.__main__ import servers

LINES = 25
OUTBOX = f"{Path(__file__).resolve().parent.parent / 'outbox'}{os.sep}"


def save():
    """2,000 saves of an order with a message each, under cProfile."""
    from benchmarks import stage
    from outbox import connections

    stage.clear()
    stage.fill(1)
    documents, profile = connections.database()[stage.COLLECTION], cProfile.Profile()
    order = stage.orders.get(documents.find_one({}, {"_id": 1})["_id"])
    for number in range(2_000):
        order.change(f"status {number}")
        profile.runcall(stage.orders.save, order)
        documents.update_many({}, {"$set": {"outbox.pending": []}})
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LINES)


def wake():
    """400 wakes, 30 ms after a commit each: what a Celery worker's task does, by cumulated time."""
    from benchmarks import stage
    from outbox import tasks
    from outbox.document import saving

    stage.clear()
    profile = cProfile.Profile()
    for number in range(400):
        order = stage.Order(f"order-{number}")
        order.change("paid")
        stage.orders.add(order)
        time.sleep(0.03)
        where = stage.COLLECTION, saving.partition_of(order.id)
        profile.runcall(tasks.sweep_partition.run, *where)
    pstats.Stats(profile).strip_dirs().sort_stats("cumtime").print_stats(LINES)


def relay():
    """A relay and 40,000 documents with a message each, archived: what its threads are at."""
    from benchmarks import stage
    from outbox.relay import Relay

    stage.clear()
    stage.fill(40_000, 1)
    one = Relay(stage.COLLECTION)
    _sample(one.sweep)


def projection():
    """A projection's consumer and 40,000 events of as many aggregates: what its threads are at."""
    from benchmarks import consumers
    from outbox.consumer import Consumer

    subscriber = consumers.subscriber_of(**consumers.KINDS["projection"])
    consumers.clear(subscriber)
    consumers.fill(40_000, 1, stored=False)
    _sample(Consumer(subscriber, consumers.TOPIC, bus=None).drain)


def backlog():
    """A backlog of 1,000,000, drained by a relay without the archive: tenth by tenth."""
    from benchmarks import consumers, processes, stage
    from benchmarks.growth import memory
    from benchmarks.relay import server_time
    from outbox import connections

    many, looks = 1_000_000, []
    stage.clear()
    stage.fill(many, 1)
    database, redis = connections.database(), connections.redis_client()

    def look(pid):
        told = database.client.admin.command("serverStatus")["wiredTiger"]["cache"]
        history = told["history store table insert calls"], told["history store table on-disk size"]
        cache = told["bytes currently in the cache"]
        done = redis.xlen(consumers.TOPIC)
        looks.append((time.monotonic(), done, server_time(), *history, cache, memory(pid)))

    with processes.sweepers(1) as drain:
        thread = threading.Thread(target=drain)
        look(drain.pids[0])
        thread.start()
        while looks[-1][1] < many:
            time.sleep(0.1)
            if redis.xlen(consumers.TOPIC) >= min(many, len(looks) * many // 10):
                look(drain.pids[0])
        thread.join()
    print("messages/s  mongod's CPU  history store:  its size   cache  the relay's memory")
    print("            ms a message  inserts a one        MB      MB                  MB")
    for one, then in pairwise(looks):
        seconds, done, cpu, inserts = (b - a for a, b in zip(one[:4], then[:4], strict=True))
        size, cache = then[4] / 1e6, then[5] / 1e6
        print(
            f"{done / seconds:10,.0f}  {cpu / done * 1000:12.3f}  {inserts / done:13.2f}"
            f"  {size:8,.0f}  {cache:6,.0f}  {then[6]:18.1f}"
        )


def _sample(work):
    """Look at all threads while `work` is done, and print what they were found at."""
    found, ended, looks = Counter(), threading.Event(), 0

    def at_work():
        try:
            work()
        finally:
            ended.set()

    worker = threading.Thread(target=at_work, name="main")
    worker.start()
    while not ended.wait(0.005):
        looks += 1
        names = {one.ident: one.name for one in threading.enumerate()}
        for thread, frame in sys._current_frames().items():
            if ours := _ours(frame):
                where = f"{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name})"
                found[names.get(thread, "?").rstrip("0123456789_-"), ours, where] += 1
    worker.join()
    # A thread is seen more often where it lets others run, and where it waits for its turn.
    print(f"share of {looks} looks (threads of one name together), thread, our function, innermost")
    for (thread, ours, where), number in found.most_common(LINES):
        print(f"{number / looks:6.1%}  {thread:22}  {ours:44}  {where}")


def _ours(frame):
    """The innermost function of ours that a thread is in."""
    while frame is not None:
        if (name := frame.f_code.co_filename).startswith(OUTBOX):
            return f"{frame.f_code.co_qualname} ({name.removeprefix(OUTBOX)})"
        frame = frame.f_back
    return None


WHAT = {one.__name__: one for one in (relay, save, wake, projection, backlog)}


def main():
    chosen = sys.argv[1:] or list(WHAT)
    if unknown := [name for name in chosen if name not in WHAT]:
        sys.exit(f"There is no profile of {unknown[0]}; there are: {', '.join(WHAT)}.")
    with servers() as variables:
        os.environ |= variables | {"DJANGO_SETTINGS_MODULE": "benchmarks.project"}
        django.setup()
        for name in chosen:
            print(f"{name}: {WHAT[name].__doc__}\n", flush=True)
            WHAT[name]()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
