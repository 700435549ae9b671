"""Interference: has something happen at a named point of the code, from outside of it."""

import os
import signal
import socket
from functools import wraps
from itertools import count

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


def _whether_it_is(call, counts):
    """A function that says whether it is called for the so-manieth time that counts."""
    calls = count(1)
    return lambda *given: counts(*given) and next(calls) == call


def before(owner, name, action, call=1, counts=lambda *args: True):
    """Have `action` called before the so-manieth call that counts."""
    original, is_it = getattr(owner, name), _whether_it_is(call, counts)

    @wraps(original)
    def interfered(*args, **kwargs):
        if is_it(*args):
            action()
        return original(*args, **kwargs)

    setattr(owner, name, interfered)


def after(owner, name, action, call=1, counts=lambda result: True):
    """Have `action` called after the so-manieth call whose result counts."""
    original, is_it = getattr(owner, name), _whether_it_is(call, counts)

    @wraps(original)
    def interfered(*args, **kwargs):
        result = original(*args, **kwargs)
        if is_it(result):
            action()
        return result

    setattr(owner, name, interfered)


def yielding(owner, name, action, call=1, counts=lambda one: True):
    """Have `action` called when the generator has the so-manieth thing to yield that counts."""
    original, is_it = getattr(owner, name), _whether_it_is(call, counts)

    @wraps(original)
    def interfered(*args, **kwargs):
        for one in original(*args, **kwargs):
            if is_it(one):
                action()
            yield one

    setattr(owner, name, interfered)


def sending(text, share, action, call=1):
    """Have `action` called when that share of the so-manieth request with `text` has been sent."""
    original = socket.socket.sendall
    is_it = _whether_it_is(call, lambda data: text in data)

    def interfered(self, data, *args):
        if is_it(data):
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
