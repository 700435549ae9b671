"""The floors: the same work in as few lines as it takes, step by step. None is safe to use.

The relay's floor holds no lease, asks for no majority, and blindly empties the array.
"""

import json
from datetime import UTC, datetime
from itertools import islice

from pymongo import UpdateOne, WriteConcern

BATCH = 500


def relay(orders, archive, redis):
    """Publish all that is pending and empty the arrays; put it in `archive` if that isn't None."""
    published, careless = 0, WriteConcern(1)
    orders = orders.with_options(write_concern=careless)
    due = {"outbox.pending.due_at": {"$exists": True}}
    found = orders.find(due, {"outbox.pending": 1}, batch_size=BATCH).hint("outbox_due")
    while documents := list(islice(found, BATCH)):
        pipeline, dispatched = redis.pipeline(transaction=False), []
        for document in documents:
            for event in document["outbox"]["pending"]:
                pipeline.xadd(event["topic"], {"event": frame(document["_id"], event)})
                if archive is not None:
                    kept = {k: v for k, v in event.items() if k not in ("event_id", "due_at")}
                    kept |= {"_id": event["event_id"], "aggregate_id": document["_id"]}
                    dispatched.append(kept)
        published += len(pipeline.execute())
        if archive is not None:
            archive.with_options(write_concern=careless).insert_many(dispatched, ordered=False)
        ids = [document["_id"] for document in documents]
        orders.update_many({"_id": {"$in": ids}}, {"$set": {"outbox.pending": []}})
    return published


def frame(aggregate_id, event):
    """The same bytes on the wire as ours."""
    moment = event["occurred_at"].isoformat(timespec="milliseconds")[:23]
    return (
        f'{{"eventType": "{event["type"]}", "eventId": "{event["event_id"]}", '
        f'"timestamp": "{moment}Z", "version": "{event["version"]}", '
        f'"aggregateId": "{aggregate_id}", "sequenceNumber": {event["sequence"]}, '
        f'"payload": {event["payload"]}, "metadata": {json.dumps(event["metadata"])}}}'
    )


def update(orders, aggregate_id, version, fields):
    """One bare `update_one` of the same fields, and no event."""
    orders.update_one(
        {"_id": aggregate_id, "version": version}, {"$set": {**fields, "version": version + 1}}
    )


def save_in_two(client, orders, outbox, aggregate_id, version, fields, messages):
    """As those do it who keep messages in a second collection: one transaction, two writes."""
    with client.start_session() as session, session.start_transaction():
        orders.update_one(
            {"_id": aggregate_id, "version": version},
            {"$set": {**fields, "version": version + 1}},
            session=session,
        )
        outbox.insert_many(messages, session=session)


def react(orders, redis, stream):
    """Read a batch, load and save an aggregate for each event, acknowledge it."""
    handled = 0
    while answer := redis.xreadgroup("floor", "one", {stream: ">"}, count=BATCH):
        entries = answer[0][1]
        for _, fields in entries:
            event = json.loads(fields[b"event"])
            order = orders.find_one({"_id": event["aggregateId"]}, {"outbox.pending": 0})
            sets = {"status": str(event["sequenceNumber"]), "version": order["version"] + 1}
            orders.update_one({"_id": order["_id"], "version": order["version"]}, {"$set": sets})
        redis.xack(stream, "floor", *(entry_id for entry_id, _ in entries))
        handled += len(entries)
    return handled


def record(inbox, redis, stream):
    """Read a batch, do nothing about each event and note that it is done, acknowledge the batch."""
    handled = 0
    while answer := redis.xreadgroup("floor", "one", {stream: ">"}, count=BATCH):
        entries = answer[0][1]
        events = [json.loads(fields[b"event"]) for _, fields in entries]
        for event in events:
            inbox.insert_one({"_id": f"floor:{event['eventId']}"})
        redis.xack(stream, "floor", *(entry_id for entry_id, _ in entries))
        handled += len(entries)
    return handled


def project(database, read_model, inbox, redis, stream):
    """Read a batch, write it and its inbox entries in one transaction, acknowledge it.

    Knows nothing of order, repeats, failures or other consumers.
    """
    handled = 0
    while answer := redis.xreadgroup("floor", "one", {stream: ">"}, count=BATCH):
        entries = answer[0][1]
        events = [json.loads(fields[b"event"]) for _, fields in entries]
        now = datetime.now(UTC)
        writes = [
            UpdateOne(
                {"_id": event["aggregateId"]},
                {"$set": {"note": event["payload"]["note"], "updated_at": event["timestamp"]}},
                upsert=True,
            )
            for event in events
        ]
        noted = [
            {
                "_id": f"floor:{event['eventId']}",
                "topic": stream,
                "type": event["eventType"],
                "aggregate_id": event["aggregateId"],
                "sequence": event["sequenceNumber"],
                "handled_at": now,
            }
            for event in events
        ]
        with database.client.start_session() as session, session.start_transaction():
            read_model.bulk_write(writes, session=session)
            inbox.insert_many(noted, ordered=False, session=session)
        redis.xack(stream, "floor", *(entry_id for entry_id, _ in entries))
        handled += len(entries)
    return handled
