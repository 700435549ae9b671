"""The read model in the making."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymongo.errors import BulkWriteError

from outbox import connections
from outbox.breaker import Breaker
from outbox.connections import Document
from outbox.delivery import Delivery
from outbox.effects.transactional import Transactional
from outbox.errors import RebuildRefused, StoreUnavailable, Superseded
from outbox.lease import Lease
from outbox.rebuild.history import PAGE
from outbox.subscriber import Subscriber
from outbox.upcasting import Upcaster

#: Write operations of one request.
BATCH = 1000

Gaps = Sequence[Document]


class Model:
    """A read model in the making: a collection that nobody looks at, and how far it is.

    `last` is each aggregate's last number, `skipped` the ids of the events that were dead letters.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        lease: Lease,
        upcasters: Sequence[Upcaster],
        progress: Callable[[int], None],
    ) -> None:
        # A name that no other run has: one that was paused for long can't write into another's.
        self.run = lease.owner
        self.name = f"{prefix(subscriber)}{self.run}"
        self.cursors = f"{self.name}.cursors"
        self.last: dict[str, int] = {}
        self.early: dict[str, dict[int, Delivery]] = {}
        self.skipped: set[str] = set()
        self.read = self.applied = 0
        self._subscriber = subscriber
        self._lease = lease
        self._progress = progress
        self._runner = Transactional(subscriber, upcasters, Breaker(subscriber.name))
        self._letters: set[str] = set()
        self._passed: dict[str, list[Document]] = {}
        self._operations: list[tuple[Delivery, Any]] = []

    def create(self) -> None:
        created = connections.database().create_collection(self.name)
        if self._subscriber.indexes:
            created.create_indexes(list(self._subscriber.indexes))

    def drop(self) -> None:
        """Leave nothing behind."""
        for name in (self.name, self.cursors):
            connections.database().drop_collection(name)

    def skips(self, letters: Iterable[Document]) -> None:
        """From now on, leave out the events of these dead letters."""
        self._letters = {one["event_id"] for one in letters}

    def has(self, letter: Document) -> bool:
        """Whether its number has been dealt with here."""
        known = self.last.get(letter.get("aggregate_id", ""), 0)
        return bool(letter.get("sequence", known + 1) <= known)

    def take(self, events: Iterable[Delivery]) -> int:
        """Take what is next in its aggregate's order, now or when its turn comes; how many came."""
        before = self.read
        for event in events:
            known = self.last.get(event.aggregate_id, 0)
            if event.sequence == known + 1:
                self._next(event)
                self._follow(event.aggregate_id)
            elif event.sequence > known:
                self.early.setdefault(event.aggregate_id, {})[event.sequence] = event
            self.read += 1
            if self.read % PAGE == 0:
                self._progress(self.read)
                if not self._lease.held():
                    raise Superseded("It was paused for longer than its lease.")
        return self.read - before

    def take_replayed(self, events: Iterable[Delivery]) -> None:
        """Take events that were skipped and have been replayed since: out of order, as that is."""
        for event in events:
            self.skipped.discard(event.event_id)
            self._apply(event)

    def go_past(self, aggregate_id: str, gaps: Gaps) -> None:
        """Go on without numbers that didn't come, where the consumers have done so."""
        while aggregate_id in self.early:
            first = self.last.get(aggregate_id, 0) + 1
            last = min(self.early[aggregate_id]) - 1
            if not any(gap["first"] <= first and last <= gap["last"] for gap in gaps):
                return
            self._passed.setdefault(aggregate_id, []).append({"first": first, "last": last})
            self.last[aggregate_id] = last
            self._follow(aggregate_id)

    def cursor(self, aggregate_id: str) -> Document:
        """The fields of the cursor that goes with the model."""
        passed = self._passed.get(aggregate_id)
        return {"sequence": self.last[aggregate_id]} | ({"passed": passed} if passed else {})

    def flush(self) -> None:
        """Write what is in hand."""
        some, self._operations = self._operations, []
        if not some:
            return
        try:
            connections.database()[self.name].bulk_write([one for _, one in some])
        except BulkWriteError as error:
            details: Any = error.details
            if not details["writeErrors"]:
                raise
            refused = details["writeErrors"][0]
            raise self._failed(some[refused["index"]][0], refused["errmsg"]) from error

    def _follow(self, aggregate_id: str) -> None:
        """Take the events that have waited for their turn, and whose turn it is."""
        waiting = self.early.get(aggregate_id)
        if waiting is None:
            return
        while event := waiting.pop(self.last.get(aggregate_id, 0) + 1, None):
            self._next(event)
        if not waiting:
            del self.early[aggregate_id]

    def _next(self, event: Delivery) -> None:
        if event.event_id in self._letters:
            self.skipped.add(event.event_id)
        else:
            self._apply(event)
        self.last[event.aggregate_id] = event.sequence

    def _apply(self, event: Delivery) -> None:
        if not self._runner.wants(event):
            return
        try:
            operations = [(event, one) for one in self._runner.operations(event)]
        except StoreUnavailable:
            raise
        except Exception as error:
            # Any exception: it is the handler's.
            raise self._failed(event, f"{type(error).__name__}: {error}") from error
        self.applied += 1
        self._operations += operations
        if len(self._operations) >= BATCH:
            self.flush()

    def _failed(self, event: Delivery, reason: str) -> RebuildRefused:
        return RebuildRefused(
            f"{self._subscriber.name} fails on the {event.type} {event.event_id}, number "
            f"{event.sequence} of {event.aggregate_id}: {reason}. Nothing was changed."
        )


def prefix(subscriber: Subscriber) -> str:
    """How the names of all collections begin that rebuilds of this subscriber make."""
    return f"{subscriber.collection}.rebuild."
