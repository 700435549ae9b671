"""Consumers' throughput, one consumer, each kind against its floor: events a second."""

import json
import random
import uuid
from itertools import islice

from pymongo import UpdateOne

from benchmarks import floor, stage
from outbox import EMBEDDED, RECORDED, TRANSACTIONAL, MessageBus, Subscriber, connections, context
from outbox.consumer import Consumer
from outbox.indexes import ensure_indexes

TOPIC, READ_MODEL = "orders", "bench_read_model"
CLEARED = (READ_MODEL, "outbox_inbox", "outbox_cursors", "outbox_deferred")
BARS = {"projection": "at least 0.85"}


def project(event, delivery):
    """What a projection does: one write operation for an event."""
    fields = {"note": event.note, "updated_at": delivery.occurred_at}
    return UpdateOne({"_id": delivery.aggregate_id}, {"$set": fields}, upsert=True)


def change(event, delivery):
    """What a policy does: a command for the aggregate that reacts."""
    return stage.ChangeOrder(order_id=delivery.aggregate_id, status=str(delivery.sequence))


def call(event, delivery):
    """What is outside of MongoDB: nothing, so that only the consumer is measured."""


KINDS = {
    "projection": {"effect": TRANSACTIONAL, "collection": READ_MODEL, "handle": project},
    "embedded": {"effect": EMBEDDED, "handle": change},
    "recorded": {"effect": RECORDED, "handle": call},
}


def subscriber_of(effect, handle, **more):
    handlers = {stage.OrderChanged: handle}
    return Subscriber(name="bench", topic=TOPIC, effect=effect, handlers=handlers, **more)


def run(kind, aggregates, events, rounds):
    """Interleaved rounds over the same stream, ours and the floor taking turns to go first."""
    subscriber, found = subscriber_of(**KINDS[kind]), {"ours": [], "floor": []}
    for who in stage.turns(rounds):
        clear(subscriber)
        fill(aggregates, events, stored=kind == "embedded")
        with stage.stopwatch() as seconds:
            handled = by_floor(kind) if who == "floor" else _ours(subscriber)
        assert handled == aggregates * events, f"{handled} handled by {who}"
        found[who].append(handled / seconds())
    name = f"{kind} consumer, {events} event(s) an aggregate"
    return stage.summary(name, found["ours"], found["floor"], "events/s", BARS.get(kind, ""))


def clear(subscriber):
    """Drop what a round has left behind: a collection that was emptied is slower than a new one."""
    for name in (*CLEARED, stage.COLLECTION):
        connections.database().drop_collection(name)
    connections.redis_client().flushdb()
    ensure_indexes([stage.orders], [subscriber])


def fill(aggregates, events, stored):
    """Put the events of so many aggregates on the stream, as they take turns."""
    if stored:
        stage.store(_ids(aggregates))
    for number in range(events):
        ids = _ids(aggregates)
        while chunk := list(islice(ids, stage.CHUNK)):
            pipeline = connections.redis_client().pipeline(transaction=False)
            for aggregate_id in chunk:
                pipeline.xadd(TOPIC, {"event": envelope(aggregate_id, number + 1)})
            pipeline.execute()


def _ids(aggregates):
    """The same each time, and nowhere kept: there may be a million."""
    numbers = random.Random(aggregates)
    return (str(uuid.UUID(int=numbers.getrandbits(128), version=4)) for _ in range(aggregates))


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


def _ours(subscriber):
    bus = MessageBus({stage.ChangeOrder: stage.change_order})
    return Consumer(subscriber, TOPIC, bus=bus).drain()["handled"]


def by_floor(kind):
    """What the floor of this kind has handled of what is on the stream."""
    database, redis = connections.database(), connections.redis_client()
    redis.xgroup_create(TOPIC, "floor", id="0")
    if kind == "projection":
        return floor.project(database, database[READ_MODEL], database["outbox_inbox"], redis, TOPIC)
    if kind == "embedded":
        return floor.react(database[stage.COLLECTION], redis, TOPIC)
    return floor.record(database["outbox_inbox"], redis, TOPIC)
