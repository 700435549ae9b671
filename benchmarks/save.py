"""One `save` with one event, against a bare `update_one` of the same fields: milliseconds."""

import statistics
import time

from benchmarks import floor, stage
from outbox import connections


def run(saves, rounds):
    """Each round takes turns by the operation, so that both meet the same moments."""
    stage.clear()
    stage.fill(2)
    documents = connections.database()[stage.COLLECTION]
    ours_id, floor_id = (found["_id"] for found in documents.find({}, {"_id": 1}).limit(2))
    order, version = stage.orders.get(ours_id), 1
    found = {"ours": [], "floor": []}
    for _ in range(rounds):
        times = {"ours": [], "floor": []}
        for number in range(saves):
            status = f"status {number}"
            order.change(status)
            times["ours"].append(_timed(stage.orders.save, order))
            fields = {**stage.orders.to_document(order), "status": status}
            times["floor"].append(_timed(floor.update, documents, floor_id, version, fields))
            version += 1
            # As the relay would, and not measured: what waits is taken out.
            documents.update_one({"_id": ours_id}, {"$set": {"outbox.pending": []}})
        for who, taken in times.items():
            found[who].append(statistics.median(taken) * 1000)
    name = "save with one event / bare update_one"
    return stage.summary(name, found["ours"], found["floor"], "ms, median", "at most 1.25")


def _timed(call, *args):
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start
