"""The process between orders, stock and the read model, driven by hand: no relay, no consumer."""

import json
from contextlib import suppress
from decimal import Decimal

from orders import messaging
from outbox import EMBEDDED, AlreadyHandled, Command, connections
from outbox.delivery import Delivery
from outbox.discovery import bus


def empty():
    """Empty the in-process store's collections that the process is about."""
    for collection in ("orders", "stock", "customer_orders"):
        connections.database()[collection].delete_many({})


def waiting(*topics):
    """The messages that may be delivered next: the first of each aggregate and topic."""
    found = {}
    for repository in messaging.repositories:
        documents = connections.collection(repository.collection)
        for document in documents.find({}, {"outbox.pending": 1}).sort("_id"):
            for message in document["outbox"]["pending"]:
                if message["topic"] in topics:
                    key = (repository.collection, document["_id"], message["topic"])
                    found.setdefault(key, message)
    return sorted(found.items())


def deliver(key, message, *, repeated=False):
    """Give the message to those who subscribe to it; then it waits no longer, unless `repeated`."""
    collection, aggregate_id, topic = key
    for subscriber in messaging.subscribes:
        if subscriber.topic == topic and subscriber.name != "letters":
            _give(subscriber, delivery_of(aggregate_id, message), message["payload"])
    if not repeated:
        connections.collection(collection).update_one(
            {"_id": aggregate_id}, {"$pull": {"outbox.pending": {"event_id": message["event_id"]}}}
        )


def deliver_all(*topics):
    """Deliver until nothing waits; returns the types of what was delivered, in order."""
    delivered = []
    while ready := waiting(*topics):
        deliver(*ready[0])
        delivered.append(ready[0][1]["type"])
    return delivered


def deliver_inside():
    return deliver_all(messaging.INSIDE, messaging.STOCK)


def delivery_of(aggregate_id, message):
    return Delivery(
        event_id=message["event_id"],
        type=message["type"],
        version=message["version"],
        topic=message["topic"],
        aggregate_id=aggregate_id,
        sequence=message["sequence"],
        occurred_at=message["occurred_at"],
        payload=json.loads(message["payload"], parse_float=Decimal),
        metadata=message["metadata"],
        text="",
    )


def _give(subscriber, delivery, payload):
    for event_class, handler in subscriber.handlers.items():
        if event_class.message_name == delivery.type:
            returned = handler(event_class.from_payload(payload), delivery)
            if subscriber.effect is EMBEDDED:
                _handle(returned, delivery)
            else:
                apply(returned, connections.collection(subscriber.collection))


def _handle(returned, delivery):
    commands = [returned] if isinstance(returned, Command) else returned
    for command in commands:
        with suppress(AlreadyHandled):
            bus().handle(command, message_id=delivery.event_id)


def apply(operation, collection):
    """What `bulk_write` does with it; mongomock's doesn't know this pymongo's operations."""
    collection.update_one(operation._filter, operation._doc, upsert=bool(operation._upsert))
