"""A projection's throughput, one consumer, against the floor: events a second."""

import json
import uuid

from pymongo import UpdateOne

from benchmarks import floor, stage
from outbox import TRANSACTIONAL, MessageBus, Subscriber, connections, context
from outbox.consumer import Consumer
from outbox.indexes import ensure_indexes

TOPIC, READ_MODEL = "orders", "bench_read_model"
CLEARED = (READ_MODEL, "outbox_inbox", "outbox_cursors", "outbox_deferred")


def project(event, delivery):
    """What a projection does: one write operation for an event."""
    fields = {"note": event.note, "updated_at": delivery.occurred_at}
    return UpdateOne({"_id": delivery.aggregate_id}, {"$set": fields}, upsert=True)


subscriber = Subscriber(
    name="bench",
    topic=TOPIC,
    effect=TRANSACTIONAL,
    collection=READ_MODEL,
    handlers={stage.OrderChanged: project},
)


def run(aggregates, events, rounds):
    """Interleaved rounds over the same stream, ours and the floor taking turns to go first."""
    found = {"ours": [], "floor": []}
    for number in range(rounds):
        for who in ("floor", "ours") if number % 2 else ("ours", "floor"):
            clear()
            fill(aggregates, events)
            with stage.stopwatch() as seconds:
                handled = _floor() if who == "floor" else _ours()
            assert handled == aggregates * events, f"{handled} handled by {who}"
            found[who].append(handled / seconds())
    name = f"projection, {events} event(s) an aggregate"
    return stage.summary(name, found["ours"], found["floor"], "events/s", "at least 0.75")


def clear():
    """Drop what a round has left behind: a collection that was emptied is slower than a new one."""
    for name in CLEARED:
        connections.database().drop_collection(name)
    connections.redis_client().flushdb()
    ensure_indexes([], [subscriber])


def fill(aggregates, events):
    """Put the events of so many aggregates on the stream, as they take turns."""
    ids = [str(uuid.uuid4()) for _ in range(aggregates)]
    for number in range(events):
        pipeline = connections.redis_client().pipeline(transaction=False)
        for aggregate_id in ids:
            pipeline.xadd(TOPIC, {"event": envelope(aggregate_id, number + 1)})
        pipeline.execute()


def envelope(aggregate_id, sequence):
    """An event of about 700 bytes."""
    event = {
        "eventType": "OrderChanged",
        "eventId": context.new_id(),
        "timestamp": "2026-11-21T10:00:00.123Z",
        "version": "1.0",
        "aggregateId": aggregate_id,
        "sequenceNumber": sequence,
        "payload": {"note": "x" * 350},
        "metadata": context.MessageContext().metadata(),
    }
    return json.dumps(event)


def _ours():
    return Consumer(subscriber, TOPIC, bus=MessageBus({})).drain()["handled"]


def _floor():
    database, redis = connections.database(), connections.redis_client()
    redis.xgroup_create(TOPIC, "floor", id="0")
    return floor.project(database, database[READ_MODEL], database["outbox_inbox"], redis, TOPIC)
