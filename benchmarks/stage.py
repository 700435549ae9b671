"""The stage: the servers of a run, Django set up on them, and data to work on."""

import random
import statistics
import time
import uuid
from contextlib import contextmanager
from itertools import islice

from outbox import Aggregate, Command, DomainEvent, IntegrationEvent, clock, connections
from outbox.context import MessageContext
from outbox.document import saving
from outbox.indexes import ensure_indexes
from outbox.mapping import EventMapping, Outgoing, to
from outbox.repository import DocumentRepository

COLLECTION = "bench_orders"
CHUNK = 5000


class Changed(DomainEvent, name="Changed"):
    note: str


class OrderChanged(IntegrationEvent, name="OrderChanged", version="1.0"):
    note: str


class Order(Aggregate):
    def __init__(self, id, status="placed", total="99.99", note="x" * 500):
        super().__init__(id)
        self.status, self.total, self.note = status, total, note

    def change(self, status, events=1):
        self.status = status
        for _ in range(events):
            self.record(Changed(note=self.note))


class Orders(DocumentRepository[Order]):
    collection = COLLECTION

    def to_document(self, order):
        return {"status": order.status, "total": order.total, "note": order.note}

    def from_document(self, stored):
        return Order(stored["_id"], stored["status"], stored["total"], stored["note"])


orders = Orders(
    EventMapping({Changed: to("orders", lambda event, order: OrderChanged(note=event.note))})
)


class ChangeOrder(Command, name="ChangeOrder"):
    order_id: str
    status: str


def change_order(command):
    order = orders.get(command.order_id)
    order.change(command.status)
    orders.save(order)
    return order


def clear():
    """Drop what a round has left behind: a collection that was emptied is slower than a new one."""
    database = connections.database()
    for name in (COLLECTION, "outbox_dispatched"):
        database.drop_collection(name)
    connections.redis_client().flushdb()
    ensure_indexes([orders])


def fill(documents, events=0, payload=500, collection=COLLECTION):
    """Store `documents` orders, each with `events` pending messages of `payload` bytes and 200."""
    ids = (str(uuid.uuid4()) for _ in range(documents))
    store(ids, [Outgoing("orders", OrderChanged(note="x" * payload))] * events, collection)


def store(ids, messages=(), collection=COLLECTION):
    """Store an order for each id, with these messages pending."""
    database, ids = connections.database(), iter(ids)
    while chunk := list(islice(ids, CHUNK)):
        at, rows = clock.now(database), []
        for order_id in chunk:
            fields = orders.to_document(Order(order_id))
            rows.append(saving.insert(order_id, fields, messages, at, MessageContext())[0])
        database[collection].insert_many(rows, ordered=False)


def turns(rounds, who=("ours", "floor")):
    """Who is measured, one after the other, in so many rounds: each goes first in every other."""
    for number in range(rounds):
        yield from reversed(who) if number % 2 else who


def by_operation(prepare, times, rounds):
    """The medians of each round, ours and the floor taking turns by the operation.

    So both meet the same moments; which of them goes first is left to chance. `prepare` makes two
    functions of two orders' ids: called with a status, each says how many milliseconds it took.
    """
    clear()
    fill(2)
    documents = connections.database()[COLLECTION]
    calls = prepare(*(found["_id"] for found in documents.find({}, {"_id": 1})))
    both = list(zip(("ours", "floor"), calls, strict=True))
    found = {"ours": [], "floor": []}
    for _ in range(rounds):
        taken = {"ours": [], "floor": []}
        for number in range(times):
            random.shuffle(both)
            for who, call in both:
                taken[who].append(call(f"status-{number}"))
            # As the relay would, and not measured: what waits is taken out.
            documents.update_many({}, {"$set": {"outbox.pending": []}})
        for who, values in taken.items():
            found[who].append(statistics.median(values))
    return found


@contextmanager
def stopwatch():
    """Measure the block: yields a function that says how many seconds it took."""
    start = time.perf_counter()
    ended = []
    yield lambda: ended[0]
    ended.append(time.perf_counter() - start)


def timed(call, *args):
    """Milliseconds that a call takes."""
    start = time.perf_counter()
    call(*args)
    return (time.perf_counter() - start) * 1000


def summary(name, ours, floor, unit, bar):
    """One line of the result: medians, spread, and the ratio of the medians."""
    medians = statistics.median(ours), statistics.median(floor)
    return {
        "name": name,
        "unit": unit,
        "ours": medians[0],
        "ours_range": [min(ours), max(ours)],
        "floor": medians[1],
        "floor_range": [min(floor), max(floor)],
        "ratio": medians[0] / medians[1],
        "bar": bar,
    }
