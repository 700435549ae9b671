"""The swap: a rebuilt read model takes the old one's place, and its cursors theirs, as if at once.

No transaction can rename a collection. So what is to be done is written down first, in one document
that is stored if, and only if, all consumers of the subscriber have been stopped:

    outbox_swaps  {_id: the subscriber, run, topic, collection, model, cursors, letters}

Before that nothing has changed; from then on it will be done. Each step may be done again, by
anybody: a consumer looks for a swap before it begins, and finishes one that its maker has left.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import pymongo
from pymongo.errors import DuplicateKeyError, OperationFailure

from outbox import clock, connections, dead_letters, deferred, delivery, inbox, lease, transactions
from outbox.conf import conf
from outbox.connections import Document
from outbox.errors import Superseded
from outbox.lease import Lease

logger = logging.getLogger(__name__)

COLLECTION = "outbox_swaps"

#: Documents that are read or written at a time.
CHUNK = 1000

#: Seconds for all of it. (`pymongo.timeout(None)` would leave the client's own in force.)
FINISHING = 3600.0

NAMESPACE_NOT_FOUND = 26

T = TypeVar("T")


def lease_of(subscriber: str) -> Lease:
    """The lease of whoever rebuilds the subscriber's read model, or finishes a swap."""
    database = connections.database()
    return Lease(database, f"rebuild:{subscriber}", conf.LEASE)


def begin(swap: Document, held: Iterable[Lease]) -> None:
    """Write down what is to be done, if all these leases are ours: one transaction.

    Raises `Superseded` if one isn't, and nothing is stored; and `StoreUnavailable`, after which
    that isn't known.
    """

    def write(session: Any) -> None:
        database = connections.database()
        for one in held:
            # A write, so that nobody can acquire it at the same moment.
            found = database[lease.COLLECTION].update_one(
                {"_id": one.name, "owner": one.owner},
                {"$set": {"expires_at": clock.after(database, one.seconds)}},
                session=session,
            )
            if not found.matched_count:
                raise Superseded(f"The lease {one.name} has passed to somebody else.")
        database[COLLECTION].insert_one(swap, session=session)

    try:
        transactions.run(write)
    except DuplicateKeyError as error:
        raise Superseded("Another swap has begun.") from error


def unfinished(subscriber: str) -> Document | None:
    """The subscriber's swap that was begun and isn't done."""
    return connections.collection(COLLECTION).find_one({"_id": subscriber})


def settled(subscriber: str) -> bool:
    """Whether there is no swap to wait for; one that was left half done is finished here.

    For a consumer that has got its lease and hasn't begun.
    """
    found = unfinished(subscriber)
    if found is None:
        return True
    mine = lease_of(subscriber)
    if not mine.acquire():
        return False
    try:
        logger.warning(
            "A rebuild of %s ended within its swap, which is finished now.",
            subscriber,
            extra={"action": "swap", "subscriber": subscriber},
        )
        finish(found)
    finally:
        mine.release()
    return True


def finish(swap: Document) -> None:
    """Do what was written down, or what is left of it. To do it again later changes nothing."""
    # Large ones take long; and giving up in the middle is no use.
    with pymongo.timeout(FINISHING):
        _set_cursors(swap)
        # Dying here: the cursors are ahead of the read model, and consumers don't begin. One that
        # was paused while it had the lease can't write any more: the cursors have moved.
        _rename(swap)
        # Dying here, or later: all of it is there; what follows tidies up, and lets consumers on.
        _close_letters(swap)
        _remove_passed(swap)
        connections.database().drop_collection(swap["cursors"])
        connections.collection(COLLECTION).delete_one({"_id": swap["_id"], "run": swap["run"]})


def chunks(many: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `CHUNK` each, and the rest."""
    rest = iter(many)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _set_cursors(swap: Document) -> None:
    """Move the cursors on, never back: by the server, without a round trip for each."""
    newer = {"$gte": ["$$new.sequence", "$sequence"]}
    merge = {
        "into": inbox.CURSORS,
        "on": "_id",
        "whenMatched": [{"$replaceWith": {"$cond": [newer, "$$new", "$$ROOT"]}}],
        "whenNotMatched": "insert",
    }
    connections.database()[swap["cursors"]].aggregate([{"$merge": merge}])


def _rename(swap: Document) -> None:
    try:
        connections.database()[swap["model"]].rename(swap["collection"], dropTarget=True)
    except OperationFailure as error:
        # It has been renamed before.
        if error.code != NAMESPACE_NOT_FOUND:
            raise


def _close_letters(swap: Document) -> None:
    """What became a dead letter after the new model had taken it isn't to be tried again."""
    letters = connections.collection(dead_letters.COLLECTION)
    for letter in letters.find({"_id": {"$in": swap["letters"]}}):
        # A replay that is on its way finds it in the inbox.
        inbox.note(swap["_id"], [delivery.read(letter["text"], swap["topic"])])
        deferred.withdraw(letter["_id"])
        dead_letters.replayed(letter["_id"])


def _remove_passed(swap: Document) -> None:
    """Deferred events that the new model has needn't wait any longer. Consumers would see to it."""
    name, topic = swap["_id"], swap["topic"]
    waiting = connections.collection(deferred.COLLECTION)
    wanted = {"subscriber": name, "topic": topic, "replays": None}
    for some in chunks(waiting.find(wanted, {"aggregate_id": 1, "sequence": 1})):
        cursors = inbox.cursors(name, topic, [one["aggregate_id"] for one in some])
        passed = [
            one["_id"] for one in some if one["sequence"] <= cursors.get(one["aggregate_id"], 0)
        ]
        waiting.delete_many({"_id": {"$in": passed}})
