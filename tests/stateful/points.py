"""Points on an event's way at which a process can be stopped: to die there, or to be overtaken."""

from contextlib import contextmanager
from unittest import mock

from outbox import batch, deferred, inbox, publishers
from outbox.consumer_group import ConsumerGroup
from outbox.lease import Lease

#: What may happen while a relay sweeps, and where; as often nothing does.
RELAY_ACCIDENTS = [
    *[(None, None)] * 6,
    *[("dies", point) for point in ("found", "half published", "published", "archived", "pulled")],
    *[("broker gone", point) for point in ("found", "published")],
    *[(what, "found") for what in ("overtaken", "command", "retry")],
    *[(what, "published") for what in ("overtaken", "command", "retry")],
    *[(what, "archived") for what in ("overtaken", "command", "retry")],
]
_CONSUMER = ("effect", "noted", "advanced", "deferring", "acknowledging", "acknowledged")
#: And while a consumer drains its stream.
CONSUMER_ACCIDENTS = [
    *[(None, None)] * 6,
    *[("dies", point) for point in _CONSUMER],
    *[("overtaken", point) for point in _CONSUMER],
]


class Died(BaseException):
    """A process is killed: nothing of its own runs any more."""


class Points:
    """What is to happen at a point, once: the next process that comes there does it first."""

    def __init__(self):
        self._then = {}
        self._dead = False

    @contextmanager
    def at(self, point, action):
        """In this block, call `action` at `point`; a process that dies of it ends the block."""
        self._then = {point: action}
        try:
            yield
        except Died:
            pass
        finally:
            self._then, self._dead = {}, False

    def reach(self, point):
        if action := self._then.pop(point, None):
            action()

    def awaits(self, point):
        return point in self._then

    def die(self):
        self._dead = True
        raise Died

    @contextmanager
    def watched(self):
        """Have the outbox's own code come by the points."""
        with (
            self._around(batch, "_pull", before="archived", after="pulled"),
            self._around(inbox, "note", before="effect"),
            self._around(inbox, "advance", before="noted", after="advanced"),
            self._around(deferred, "put", before="deferring"),
            self._around(
                ConsumerGroup, "acknowledge", before="acknowledging", after="acknowledged"
            ),
            self._of_the_living(Lease, "release"),
        ):
            yield self

    def _around(self, owner, name, *, before="", after=""):
        original = getattr(owner, name)

        def passing(*args, **kwargs):
            self.reach(before)
            result = original(*args, **kwargs)
            self.reach(after)
            return result

        return mock.patch.object(owner, name, passing)

    def _of_the_living(self, owner, name):
        """Python's `finally` runs when a test dies of an exception; a killed process has none."""
        original = getattr(owner, name)

        def unless_dead(*args, **kwargs):
            if not self._dead:
                original(*args, **kwargs)

        return mock.patch.object(owner, name, unless_dead)


class Publisher:
    """The configured publisher, with points around it and a broker that can be away."""

    def __init__(self, points):
        self._points = points
        self._publisher = publishers.configured()

    def publish(self, groups):
        self._points.reach("found")
        if self._points.awaits("half published"):
            self._publisher.publish([groups[0][:1]])
            self._points.reach("half published")
        outcomes = self._publisher.publish(groups)
        self._points.reach("published")
        return outcomes
