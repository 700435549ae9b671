"""What the tests of consumers have in common: a stage of notes, subscribers and a stream."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from unittest import mock

from django.conf import settings
from pymongo import UpdateOne

from outbox import (
    EMBEDDED,
    RECORDED,
    TRANSACTIONAL,
    AggregateNotFound,
    Command,
    MessageBus,
    Subscriber,
    connections,
    context,
    dead_letter_actions,
)
from outbox.consumer import Consumer
from outbox.discovery import messaging
from outbox.relay import Relay
from tests import notes

READ_MODEL = "note_titles"


def event(aggregate_id, sequence, text="hello", **changes):
    """An envelope as it lies on a stream."""
    envelope = {
        "eventType": "NotePublished",
        "eventId": context.new_id(),
        "timestamp": "2026-11-21T10:00:00.123Z",
        "version": "1.1",
        "aggregateId": aggregate_id,
        "sequenceNumber": sequence,
        "payload": {"noteText": text},
        "metadata": {"correlationId": "c-1", "causationId": "c-1"},
    }
    return envelope | changes


def cloudevent(aggregate_id, sequence, text="hello", **changes):
    envelope = {
        "specversion": "1.0",
        "id": context.new_id(),
        "source": "/notes",
        "type": "NotePublished",
        "subject": aggregate_id,
        "time": "2026-11-21T10:00:00.123Z",
        "dataversion": "1.1",
        "sequence": str(sequence),
        "data": {"noteText": text},
    }
    return envelope | changes


def add(redis, *events, stream="notes"):
    """Add events (or texts that are none) to a stream; the ids of the entries."""
    pipeline = redis.pipeline(transaction=False)
    for one in events:
        text = one if isinstance(one, (str, bytes)) else json.dumps(one)
        pipeline.xadd(stream, {"event": text})
    return pipeline.execute()


def projection(handler=None, **changes):
    """A subscriber that appends what it sees to a document for each note."""

    def append(event, delivery):
        seen = {
            "event_id": delivery.event_id,
            "sequence": delivery.sequence,
            "text": event.note_text,
        }
        return UpdateOne({"_id": delivery.aggregate_id}, {"$push": {"seen": seen}}, upsert=True)

    fields = {
        "name": "titles",
        "topic": "notes",
        "effect": TRANSACTIONAL,
        "collection": READ_MODEL,
        "handlers": {notes.NotePublished: handler or append},
    }
    return Subscriber(**fields | changes)


def recorded(handler, **changes):
    fields = {"name": "letters", "topic": "notes", "effect": RECORDED}
    return Subscriber(**fields | {"handlers": {notes.NotePublished: handler}} | changes)


def consumer(subscriber, stream="notes", *, bus=None, **more):
    return Consumer(subscriber, stream, bus=bus or MessageBus({}), **more)


def drain(subscriber, **more):
    """What became of events, with a new consumer."""
    return consumer(subscriber, **more).drain()


def seen(aggregate_id="n1"):
    """The sequence numbers that the projection has seen of a note."""
    found = connections.database()[READ_MODEL].find_one({"_id": aggregate_id}) or {"seen": []}
    return [one["sequence"] for one in found["seen"]]


def seen_by_all():
    return {
        found["_id"]: [one["sequence"] for one in found["seen"]]
        for found in connections.database()[READ_MODEL].find()
    }


def seen_by_all_numbers():
    return {found["_id"]: found["seen"] for found in connections.database()[READ_MODEL].find()}


def publish_notes(many, changes=3):
    """Write notes and have the relay publish their events; the ids of the notes."""
    repository, ids = notes.repository(), [str(uuid.uuid4()) for _ in range(many)]
    for note_id in ids:
        note = notes.Note(note_id)
        note.write("first")
        repository.add(note)
        for number in range(changes - 1):
            note.write(f"change {number}")
            repository.save(note)
    Relay("notes").sweep()
    return ids


def letters():
    return list(connections.database()["outbox_dead_letters"].find())


def replay(*letter_ids, by="somebody"):
    """Have their subscriber try dead letters again, as operators do; which, and why not others."""
    # Replays are for subscribers that are declared, as most tests' aren't.
    with mock.patch.dict(messaging().subscribes, {"titles": projection()}):
        return dead_letter_actions.replay(letter_ids, by=by)


def waiting():
    return list(connections.database()["outbox_deferred"].find())


def pending(redis, group, stream="notes"):
    """How many entries the group has read and not acknowledged."""
    return redis.xpending(stream, group)["pending"]


class Append(Command, name="Append"):
    target: str
    text: str


class Copying:
    """Handles `Append`: the repeats that it would not be given are visible in the copy's text."""

    def __init__(self):
        self.repository = notes.repository()
        self.bus = MessageBus({Append: self.append})

    def append(self, command):
        try:
            copy = self.repository.get(command.target)
        except AggregateNotFound:
            copy = notes.Note(command.target, command.text)
            self.repository.add(copy)
            return
        copy.text += f" {command.text}"
        self.repository.save(copy)


class Stage:
    """A subscriber of one kind, and what its handlers have done, by aggregate.

    `before(event, delivery)` is called first, and may raise.
    """

    KINDS = ("embedded", "projection", "session", "recorded")

    def __init__(self, kind, before=lambda event, delivery: None, **changes):
        self.kind = kind
        self.before = before
        self.calls = []
        self.bus = Copying().bus
        fields = {"name": "titles", "topic": "notes"}
        fields["handlers"] = {notes.NotePublished: getattr(self, f"_{kind}")}
        fields["effect"] = {"embedded": EMBEDDED, "recorded": RECORDED}.get(kind, TRANSACTIONAL)
        if kind == "projection":
            fields["collection"] = READ_MODEL
        self.subscriber = Subscriber(**fields | changes)

    def _embedded(self, event, delivery):
        self.before(event, delivery)
        return Append(target=f"copy-{delivery.aggregate_id}", text=str(delivery.sequence))

    def _projection(self, event, delivery):
        self.before(event, delivery)
        push = {"$push": {"seen": delivery.sequence}}
        return UpdateOne({"_id": delivery.aggregate_id}, push, upsert=True)

    def _session(self, event, delivery, session):
        self.before(event, delivery)
        push = {"$push": {"seen": delivery.sequence}}
        connections.database()[READ_MODEL].update_one(
            {"_id": delivery.aggregate_id}, push, upsert=True, session=session
        )

    def _recorded(self, event, delivery):
        self.before(event, delivery)
        self.calls.append((delivery.aggregate_id, delivery.sequence))

    def seen(self):
        """The sequence numbers that had their effect, by aggregate, in that order."""
        if self.kind == "recorded":
            found = {}
            for aggregate_id, sequence in self.calls:
                found.setdefault(aggregate_id, []).append(sequence)
            return found
        if self.kind == "embedded":
            copies = list(connections.database()["notes"].find({"_id": {"$regex": "^copy-"}}))
            for copy in copies:
                handled = copy["outbox"]["handled"]
                assert len(set(handled)) == len(handled)
            return {
                copy["_id"].removeprefix("copy-"): [int(one) for one in copy["text"].split()]
                for copy in copies
            }
        return {found["_id"]: found["seen"] for found in connections.database()[READ_MODEL].find()}

    def consumer(self, stream="notes", **more):
        return consumer(self.subscriber, stream, bus=self.bus, **more)

    def drain(self, stream="notes"):
        return self.consumer(stream).drain()

    def finish(self, within=10.0):
        """Drain until nothing is deferred, or it takes too long; what became of events, in all."""
        counts, deadline = Counter(), time.monotonic() + within
        while True:
            counts += self.drain()
            if not waiting():
                return counts
            assert time.monotonic() < deadline, waiting()
            time.sleep(0.02)


PRELUDE = """
import json, os, signal, sys, time
from django.conf import settings
for name, value in json.loads(os.environ["TEST_SETTINGS"]).items():
    setattr(settings, name, value)
from outbox import connections
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import Stage
"""


def child(code):
    """A process that runs `code` with this test's settings."""
    names = [name for name in dir(settings) if name.startswith("OUTBOX_")]
    plain = {name: getattr(settings, name) for name in names}
    given = {name: value for name, value in plain.items() if isinstance(value, (str, int, float))}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TEST_SETTINGS": json.dumps(given)},
        stdout=subprocess.PIPE,
        text=True,
    )


def eventually(condition, within=10.0):
    """Wait until `condition()` holds, and return what it returned."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, "it didn't come to pass"
        time.sleep(0.01)
    return found
