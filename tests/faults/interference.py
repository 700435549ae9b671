"""Interference: has something happen at a named point of the code, from outside of it."""

import os
import signal
import socket
from functools import wraps

from pymongo.collection import Collection

from outbox import batch, dispatched, inbox
from outbox.consumer_group import ConsumerGroup
from outbox.lease import Lease
from outbox.publishers.redis import RedisStreamPublisher
from outbox.repository import DocumentRepository


def die():
    """As the out-of-memory killer does it, or a power cut: nothing runs after this."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause():
    """Stop, until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def before(owner, name, action, call=1, counts=lambda *args: True):
    """Have `action` called before the so-manieth call that counts."""
    original, calls = getattr(owner, name), []

    @wraps(original)
    def interfered(*args, **kwargs):
        if counts(*args):
            calls.append(name)
            if len(calls) == call:
                action()
        return original(*args, **kwargs)

    setattr(owner, name, interfered)


def after(owner, name, action, call=1, counts=lambda result: True):
    """Have `action` called after the so-manieth call whose result counts."""
    original, calls = getattr(owner, name), []

    @wraps(original)
    def interfered(*args, **kwargs):
        result = original(*args, **kwargs)
        if counts(result):
            calls.append(name)
            if len(calls) == call:
                action()
        return result

    setattr(owner, name, interfered)


def yielding(owner, name, action, call=1, counts=lambda one: True):
    """Have `action` called when the generator has the so-manieth thing to yield that counts."""
    original, calls = getattr(owner, name), []

    @wraps(original)
    def interfered(*args, **kwargs):
        for one in original(*args, **kwargs):
            if counts(one):
                calls.append(name)
                if len(calls) == call:
                    action()
            yield one

    setattr(owner, name, interfered)


def sending(text, share, action, call=1):
    """Have `action` called when that share of the so-manieth request with `text` has been sent."""
    original, calls = socket.socket.sendall, []

    def interfered(self, data, *args):
        if text in data:
            calls.append(text)
            if len(calls) == call:
                middle = round(share * len(data))
                original(self, data[:middle], *args)
                action()
                return original(self, data[middle:], *args)
        return original(self, data, *args)

    socket.socket.sendall = interfered


#: The relay's crash windows. Only a batch that holds something counts.
RELAY = {
    "after find": lambda *args: yielding(batch, "read", *args, lambda found: any(found.groups)),
    "before publish": lambda *args: before(RedisStreamPublisher, "publish", *args),
    "half of the batch sent to Redis": lambda *args: sending(b"eventId", 0.5, *args),
    "all of the batch sent to Redis": lambda *args: sending(b"eventId", 1.0, *args),
    "after publish, before archive": lambda *args: before(dispatched, "archive", *args),
    "after archive, before pull": lambda *args: before(batch, "_pull", *args),
    "pull sent": lambda *args: sending(b"$pull", 1.0, *args),
    "after pull": lambda *args: after(batch, "_pull", *args),
    "before release": lambda *args: before(Lease, "release", *args),
}


#: The consumer's. A handler's own are before and after what it does.
CONSUMER = {
    "before the note": lambda *args: before(inbox, "note", *args, lambda name, some, *_: some),
    "before the cursor": lambda *args: before(inbox, "advance", *args, lambda *given: given[3]),
    "after the cursor": lambda *args: after(inbox, "advance", *args),
    "before ack": lambda *args: before(
        ConsumerGroup, "acknowledge", *args, lambda group, entries: entries
    ),
    "after ack": lambda *args: after(ConsumerGroup, "acknowledge", *args),
}

#: A command's, between the load and the answer to the client.
COMMAND = {
    "after load": lambda *args: after(DocumentRepository, "get", *args),
    "before the write": lambda *args: before(Collection, "update_one", *args),
    "half of the write sent": lambda *args: sending(b"update\0", 0.5, *args),
    "all of the write sent": lambda *args: sending(b"update\0", 1.0, *args),
    "after the write": lambda *args: after(Collection, "update_one", *args),
}

POINTS = RELAY | CONSUMER | COMMAND


def at(point, action, call=1):
    """Have `action` called when the code comes to this point for the so-manieth time."""
    POINTS[point](action, call)
