"""One `save` with its events, against what else a write could be: milliseconds."""

from itertools import count

from django.test import override_settings

from benchmarks import floor, stage
from outbox import connections, context
from outbox.context import new_id

#: Against what, and what of it is good enough.
BARE, TWO_WRITES = "a bare update_one", "a transaction of two writes"
BARS = {(1, BARE): "at most 1.10", (1, TWO_WRITES): "at most 0.65"}


def run(saves, rounds, events, against, wake=None):
    """The floor writes the same field as ours to an order of its own.

    With a `wake`, each save announces itself to Celery: there is no worker that works meanwhile.
    """

    def prepare(ours_id, floor_id):
        database = connections.database()
        database.drop_collection("bench_outbox")
        documents = database[stage.COLLECTION]
        order, versions = stage.orders.get(ours_id), count(1)

        def ours(status):
            order.change(status, events)
            if wake:
                # Else all but the first would find that a wake is queued already.
                connections.redis_client().flushdb()
            # In a conversation, as any handler of a command is.
            with context.use(context.MessageContext()):
                return stage.timed(stage.orders.save, order)

        def floors(status):
            written = (floor_id, next(versions), {"status": status})
            if against == BARE:
                return stage.timed(floor.update, documents, *written)
            messages = [{"_id": new_id(), "payload": order.note} for _ in range(events)]
            two = (database.client, documents, database["bench_outbox"])
            return stage.timed(floor.save_in_two, *two, *written, messages)

        return ours, floors

    with override_settings(OUTBOX_WAKE=wake):
        found = stage.by_operation(prepare, saves, rounds)
    announced = " and Celery's wake" if wake else ""
    name = f"save with {events} event(s){announced} / {against}"
    bar = "" if wake else BARS.get((events, against), "")
    return stage.summary(name, found["ours"], found["floor"], "ms, median", bar)
