"""The stage: the servers of a run, Django set up on them, and data to work on."""

import statistics
import time
import uuid
from contextlib import contextmanager

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

    def change(self, status):
        self.status = status
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
    """Empty what a round has left behind."""
    database = connections.database()
    for name in (COLLECTION, "outbox_dispatched"):
        database[name].delete_many({})
    connections.redis_client().flushdb()
    ensure_indexes([orders])


def fill(documents, events=0):
    """Store `documents` orders, each with `events` pending messages of about 700 bytes."""
    database = connections.database()
    messages = [Outgoing("orders", OrderChanged(note="x" * 500))] * events
    for start in range(0, documents, CHUNK):
        at, rows = clock.now(database), []
        for _ in range(min(CHUNK, documents - start)):
            order = Order(str(uuid.uuid4()))
            fields = orders.to_document(order)
            rows.append(saving.insert(order.id, fields, messages, at, MessageContext())[0])
        database[COLLECTION].insert_many(rows, ordered=False)


@contextmanager
def stopwatch():
    """Measure the block: yields a function that says how many seconds it took."""
    start = time.perf_counter()
    ended = []
    yield lambda: ended[0]
    ended.append(time.perf_counter() - start)


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
