"""One `save` with its events, against what else a write could be: milliseconds."""

import random
import statistics

from benchmarks import floor, stage
from outbox import connections
from outbox.context import new_id

#: Against what, and what of it is good enough.
BARE, TWO_WRITES = "a bare update_one", "a transaction of two writes"
BARS = {(1, BARE): "at most 1.10", (1, TWO_WRITES): "at most 0.65"}


def run(saves, rounds, events, against):
    """Each round takes turns by the operation, so that both meet the same moments."""
    stage.clear()
    stage.fill(2)
    database = connections.database()
    database.drop_collection("bench_outbox")
    documents = database[stage.COLLECTION]
    ours_id, floor_id = (found["_id"] for found in documents.find({}, {"_id": 1}).limit(2))
    order, version = stage.orders.get(ours_id), 1
    found = {"ours": [], "floor": []}

    def ours(status):
        order.change(status, events)
        return stage.timed(stage.orders.save, order)

    def floors(status):
        fields = {**stage.orders.to_document(order), "status": status}
        if against == BARE:
            return stage.timed(floor.update, documents, floor_id, version, fields)
        messages = [{"_id": new_id(), "payload": order.note} for _ in range(events)]
        two = (database.client, documents, database["bench_outbox"])
        return stage.timed(floor.save_in_two, *two, floor_id, version, fields, messages)

    for _ in range(rounds):
        times = {"ours": [], "floor": []}
        for number in range(saves):
            turns = [("ours", ours), ("floor", floors)]
            random.shuffle(turns)
            for who, write in turns:
                times[who].append(write(f"status {number}"))
            version += 1
            # As the relay would, and not measured: what waits is taken out.
            documents.update_one({"_id": ours_id}, {"$set": {"outbox.pending": []}})
        for who, taken in times.items():
            found[who].append(statistics.median(taken))
    name = f"save with {events} event(s) / {against}"
    bar = BARS.get((events, against), "")
    return stage.summary(name, found["ours"], found["floor"], "ms, median", bar)
