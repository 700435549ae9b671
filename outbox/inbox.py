"""The inbox: what a subscriber has handled, so that each event has its effect once.

An Idempotent Receiver (Hohpe and Woolf) of two collections:

    outbox_inbox    {_id: "subscriber:event id", topic, type, aggregate_id, sequence, handled_at},
                    one for each event handled; expires after OUTBOX_INBOX_RETENTION
    outbox_cursors  {_id: "subscriber:topic:aggregate id", sequence}: how far the subscriber has
                    come with each aggregate; kept, so that an old repeat is still recognised
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import IndexModel
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from outbox import clock, connections
from outbox.delivery import Delivery
from outbox.errors import Superseded

ENTRIES = "outbox_inbox"
CURSORS = "outbox_cursors"

#: The TTL index; its seconds come from `OUTBOX_INBOX_RETENTION` (see `indexes`).
TTL_INDEX = "outbox_inbox_retention"
INDEXES = [IndexModel([("aggregate_id", 1), ("handled_at", 1)], name="outbox_inbox_aggregate")]

#: Cursors that a consumer remembers before it begins anew.
MOST_KNOWN = 50_000


def entry_id(subscriber: str, event_id: str) -> str:
    """The key of a subscriber's entry for an event, here and among dead letters."""
    return f"{subscriber}:{event_id}"


def cursors(subscriber: str, topic: str, aggregate_ids: Iterable[str]) -> dict[str, int]:
    """The last sequence number dealt with, of those of the aggregates that have one: one query."""
    prefix = f"{subscriber}:{topic}:"
    ids = [prefix + one for one in set(aggregate_ids)]
    with connections.store_errors():
        # All in the first answer: the default would be a hundred, and the others in a second.
        options: dict[str, Any] = {"batch_size": len(ids) + 1}
        found = connections.collection(CURSORS).find(
            {"_id": {"$in": ids}}, {"sequence": 1}, **options
        )
        return {one["_id"][len(prefix) :]: one["sequence"] for one in found}


class Prefetched(NamedTuple):
    """Cursors that were asked for before they are wanted: of `ids`, those that have one."""

    ids: set[str]
    found: dict[str, int]
    times_forgotten: int


class Cursors(dict[str, int]):
    """A subscriber's cursors in one topic, as far as they have been asked for: by aggregate id.

    For the one consumer that has the lease, and only until it loses it: what it has read and moved
    itself needn't be asked for again. Moving one still fails if that was wrong (see `advance`).
    """

    def __init__(self, subscriber: str, topic: str) -> None:
        self._subscriber = subscriber
        self._topic = topic
        self._absent: set[str] = set()
        self._times_forgotten = 0

    def look_up(self, aggregate_ids: Iterable[str], *, afresh: bool = False) -> dict[str, int]:
        """Those of some aggregates; at most one query, for what isn't known yet, or for all."""
        wanted = set(aggregate_ids)
        if afresh:
            self._absent -= wanted
            for one in wanted:
                self.pop(one, None)
        if len(self) + len(self._absent) > MOST_KNOWN:
            self.forget()
        if unknown := self._unknown(wanted):
            self._learn(unknown, cursors(self._subscriber, self._topic, unknown))
        return {one: self[one] for one in wanted if one in self}

    def prefetch(self, aggregate_ids: Iterable[str]) -> Prefetched:
        """Ask for those of some aggregates on another thread, while others are being moved."""
        before, unknown = self._times_forgotten, self._unknown(set(aggregate_ids))
        found = cursors(self._subscriber, self._topic, unknown) if unknown else {}
        return Prefetched(unknown, found, before)

    def take(self, prefetched: Prefetched) -> None:
        """Know them, but for what is known better by now: what has been moved meanwhile."""
        if prefetched.times_forgotten == self._times_forgotten:
            self._learn(self._unknown(prefetched.ids), prefetched.found)

    def forget(self) -> None:
        """Ask for all of them again."""
        self.clear()
        self._absent.clear()
        self._times_forgotten += 1

    def _unknown(self, aggregate_ids: set[str]) -> set[str]:
        return {one for one in aggregate_ids if one not in self and one not in self._absent}

    def _learn(self, aggregate_ids: set[str], found: Mapping[str, int]) -> None:
        for one in aggregate_ids:
            if one in found:
                self[one] = found[one]
            else:
                self._absent.add(one)


def has_begun(subscriber: str, topic: str) -> bool:
    """Whether the subscriber has ever dealt with an event of the topic."""
    prefix = f"{subscriber}:{topic}"
    wanted = {"_id": {"$gte": f"{prefix}:", "$lt": f"{prefix};"}}  # ';' comes next
    with connections.store_errors():
        return connections.collection(CURSORS).find_one(wanted, {"_id": 1}) is not None


def has(subscriber: str, event_id: str) -> bool:
    """Whether the subscriber's handling of the event is still remembered."""
    wanted = {"_id": entry_id(subscriber, event_id)}
    with connections.store_errors():
        return connections.collection(ENTRIES).find_one(wanted, {"_id": 1}) is not None


def note(
    subscriber: str, handled: Sequence[Delivery], session: ClientSession | None = None
) -> None:
    """Keep an entry for each event handled: one request.

    In a transaction, an event that has an entry raises `Superseded`: somebody else handled it.
    Outside, it is as it should be: the effect is what it was.
    """
    if not handled:
        return
    database = connections.database()
    at = clock.now(database)
    entries = [
        {
            "_id": entry_id(subscriber, one.event_id),
            "topic": one.topic,
            "type": one.type,
            "aggregate_id": one.aggregate_id,
            "sequence": one.sequence,
            "handled_at": at,
        }
        for one in handled
    ]
    try:
        database[ENTRIES].insert_many(entries, ordered=False, session=session)
    except BulkWriteError as error:
        connections.raise_unless_duplicate(error)
        if session is not None:
            raise Superseded("An event of the batch is in the inbox already.") from error


def advance(
    subscriber: str,
    topic: str,
    before: Mapping[str, int],
    after: Mapping[str, int],
    session: ClientSession | None = None,
) -> None:
    """Move the cursors of the aggregates in `after` on from where they were `before`.

    Raises `Superseded` if one has been moved by somebody else: this consumer isn't the one any
    more that it took itself for, and a transaction has to be given up. One request for the new
    aggregates, and one for all that make the same step.
    """
    prefix, collection = f"{subscriber}:{topic}:", connections.collection(CURSORS)
    new = [
        {"_id": prefix + one, "sequence": last} for one, last in after.items() if one not in before
    ]
    steps: dict[tuple[int, int], list[str]] = defaultdict(list)
    for one, last in after.items():
        if one in before:
            steps[before[one], last].append(prefix + one)
    if new:
        try:
            collection.insert_many(new, ordered=False, session=session)
        except BulkWriteError as error:
            connections.raise_unless_duplicate(error)
            raise Superseded() from error
    for (known, last), ids in steps.items():
        moved = collection.update_many(
            {"_id": {"$in": ids}, "sequence": known}, {"$set": {"sequence": last}}, session=session
        )
        if moved.matched_count != len(ids):
            raise Superseded()


def begin(subscriber: str, topic: str, before: Mapping[str, int]) -> None:
    """Set the cursors of aggregates to the numbers `before` their first; one that is there stays.

    One request.
    """
    prefix = f"{subscriber}:{topic}:"
    new = [{"_id": prefix + one, "sequence": last} for one, last in before.items()]
    if not new:
        return
    try:
        connections.collection(CURSORS).insert_many(new, ordered=False)
    except BulkWriteError as error:
        connections.raise_unless_duplicate(error)


def go_past(
    subscriber: str, topic: str, aggregate_id: str, known: int, last: int, *, new: bool
) -> None:
    """Move a cursor over a gap, and remember which numbers were missing.

    Raises `Superseded` as `advance` does.
    """
    cursor_id, gap = f"{subscriber}:{topic}:{aggregate_id}", {"first": known + 1, "last": last}
    update = {"$set": {"sequence": last}, "$push": {"passed": gap}}
    wanted = {"_id": cursor_id, "sequence": {"$exists": False} if new else known}
    try:
        moved = connections.collection(CURSORS).update_one(wanted, update, upsert=new)
    except DuplicateKeyError as error:
        raise Superseded() from error
    if not moved.matched_count and moved.upserted_id is None:
        raise Superseded()


def passed(subscriber: str, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Those of some repeats that are none: their gap was passed before they came."""
    prefixes = {f"{subscriber}:{one.topic}:{one.aggregate_id}" for one in deliveries}
    wanted = {"_id": {"$in": list(prefixes)}, "passed": {"$exists": True}}
    found = connections.collection(CURSORS).find(wanted, {"passed": 1})
    gaps = {one["_id"]: one["passed"] for one in found}
    return [
        one
        for one in deliveries
        if any(
            gap["first"] <= one.sequence <= gap["last"]
            for gap in gaps.get(f"{subscriber}:{one.topic}:{one.aggregate_id}", ())
        )
    ]


def last_of(deliveries: Iterable[Delivery]) -> dict[str, int]:
    """The highest sequence number of each aggregate among `deliveries`, which are in order."""
    return {one.aggregate_id: one.sequence for one in deliveries}
