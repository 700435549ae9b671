"""The rebuild: makes a projection's read model anew from the topic's history, and swaps it in.

While everything runs: readers have the old model up to the swap, and the new one from then on;
consumers are stopped for the time it takes to read what came last, and go on where the new one is.

1. The history goes into a collection of its own, each event once, in its aggregate's order.
2. The leases of the subscriber's consumers are claimed, and what came meanwhile is read.
3. Is nothing missing? Otherwise it is refused, and nothing has been changed.
4. The swap (see `swap`).

Dying before the swap has begun, nothing is changed: leases run out, and the next rebuild drops the
collection that was left. After that, a consumer finishes it, or the next rebuild does.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pymongo.errors import PyMongoError

from outbox import connections, dead_letters, delivery, inbox, swap, transactions
from outbox.conf import conf
from outbox.connections import Document
from outbox.delivery import Delivery
from outbox.discovery import messaging
from outbox.errors import NoTransactions, OutboxError, RebuildRefused, Superseded
from outbox.lease import Lease
from outbox.rebuild.completeness import complete
from outbox.rebuild.history import PAGE, History
from outbox.rebuild.model import Model, prefix
from outbox.subscriber import Subscriber
from outbox.upcasting import Upcaster

logger = logging.getLogger(__name__)

#: Seconds that consumers are waited for, beside the time that their leases last.
PATIENCE = 30.0


class Rebuilt(NamedTuple):
    """What went into a new read model: events that have a handler, of so many aggregates."""

    events: int
    aggregates: int
    skipped: int
    seconds: float


def rebuild(
    subscriber: Subscriber,
    *,
    upcasters: Sequence[Upcaster] = (),
    progress: Callable[[int], None] = lambda events: None,
) -> Rebuilt:
    """Replace the subscriber's read model by one that its handlers make from the whole history.

    Afterwards the model has each event once that the subscriber had handled, and some that it
    hadn't come to, which it then passes over. Without effect remain, as before, its dead letters
    (those that wait to be replayed are, later) and what lies in gaps that it has gone past. One
    that `start`ed "now" has the events before that as well.

    The handlers must return all that they do: one that reads its own read model reads the old one.
    Indexes are the subscriber's; others that the old collection had are gone with it. A reader that
    is fetching the batches of a long query at the moment of the swap gets an error from MongoDB.

    Takes memory for a number for each aggregate, for the events that come before their turn, and
    for the ids of the subscriber's dead letters. `progress` is told how many events were read.

    Raises `RebuildRefused` when nothing was changed: another one is at it, events are missing, a
    handler fails, consumers don't let go. `NoTransactions`, `MissingIndex`, `BrokerUnavailable`:
    the same. After `StoreUnavailable` it may be that the swap has begun; then it is finished by a
    consumer.
    """
    began, name = time.monotonic(), subscriber.name
    with connections.store_errors():
        _refuse_what_cannot_be(subscriber)
        lease = swap.lease_of(name)
        if not lease.acquire():
            raise RebuildRefused(
                f"{name} is being rebuilt already. If that one has died, try again in "
                f"{conf.LEASE:g} s."
            )
        with _kept([lease]) as held:
            if left := swap.unfinished(name):
                swap.finish(left)
            _drop_leftovers(subscriber)
            model = Model(subscriber, lease, upcasters, progress)
            written: Document | None = None
            try:
                written = _prepare(subscriber, model, held)
                # Dying before this: nothing is changed. After it: it will be.
                swap.begin(written, held)
            except BaseException as error:
                # An unknown outcome may mean that it has begun, and needs what we would drop.
                if written is None or isinstance(error, Superseded):
                    with suppress(OutboxError, PyMongoError):
                        model.drop()
                if isinstance(error, Superseded):
                    raise RebuildRefused(f"{error} Nothing was changed: run it again.") from error
                raise
            swap.finish(written)
    seconds = time.monotonic() - began
    found = Rebuilt(model.applied, len(model.last), len(model.skipped), seconds)
    logger.info("Rebuilt %s: %s", name, found, extra={"action": "rebuild", "subscriber": name})
    return found


def _refuse_what_cannot_be(subscriber: Subscriber) -> None:
    if not subscriber.is_projection:
        raise RebuildRefused(f"{subscriber.name} has no read model: it isn't a projection.")
    others = [
        other.name
        for other in messaging().subscribes.values()
        if other.collection == subscriber.collection and other.name != subscriber.name
    ]
    if others:
        raise RebuildRefused(
            f"{subscriber.collection} is written by {', '.join(others)} as well, whose part would "
            f"be lost if {subscriber.name} made it anew."
        )
    if not transactions.supported(connections.database()):
        raise NoTransactions


def _prepare(subscriber: Subscriber, model: Model, held: list[Lease]) -> Document:
    """The finished model, complete; what is to be done to swap it in. The consumers are stopped."""
    history = History(subscriber.topic)
    model.create()
    model.skips(letters := _letters(subscriber))
    known = {one["_id"] for one in letters}
    read, before = model.take(history.everything()), 0
    # What came meanwhile, for as long as that becomes less: the consumers needn't wait for it.
    while read > PAGE and (not before or read < before):
        read, before = model.take(history.added()), read

    _take_leases(subscriber, history.streams(), held)
    late = _letters(subscriber)
    closed = [one["_id"] for one in late if one["_id"] not in known and model.has(one)]
    model.skips(late)
    model.take_replayed(_replayed(subscriber, model.skipped - {one["event_id"] for one in late}))
    model.take(history.added())
    moved = complete(subscriber, model, history)
    model.flush()
    prefix = f"{subscriber.name}:{subscriber.topic}:"
    cursors = ({"_id": prefix + one, **model.cursor(one)} for one in moved)
    for some in swap.chunks(cursors):
        connections.database()[model.cursors].insert_many(some)
    return {
        "_id": subscriber.name,
        "run": model.run,
        "topic": subscriber.topic,
        "collection": subscriber.collection,
        "model": model.name,
        "cursors": model.cursors,
        "letters": closed,
    }


def _letters(subscriber: Subscriber) -> list[Document]:
    """The dead letters whose events have had no effect so far."""
    without = [dead_letters.DEAD, dead_letters.REPLAYING, dead_letters.DISCARDED]
    where = {"subscriber": subscriber.name, "state": {"$in": without}, "topic": subscriber.topic}
    fields = {"event_id": 1, "aggregate_id": 1, "sequence": 1}
    return list(connections.collection(dead_letters.COLLECTION).find(where, fields))


def _replayed(subscriber: Subscriber, event_ids: Iterable[str]) -> list[Delivery]:
    """Those of some dead letters that the subscriber has handled after all."""
    ids = [inbox.entry_id(subscriber.name, one) for one in event_ids]
    where = {"_id": {"$in": ids}, "state": dead_letters.REPLAYED}
    found = connections.collection(dead_letters.COLLECTION).find(where).sort("closed_at", 1)
    return [delivery.read(one["text"], one["topic"]) for one in found]


def _take_leases(subscriber: Subscriber, streams: Sequence[str], held: list[Lease]) -> None:
    """Stop the subscriber's consumers on all streams."""
    database, deadline = connections.database(), time.monotonic() + conf.LEASE + PATIENCE
    names = (f"consumer:{subscriber.name}:{stream}" for stream in streams)
    waiting = [Lease(database, name, conf.LEASE) for name in names]
    while True:
        for lease in list(waiting):
            lease.claim()
            if lease.acquire():
                waiting.remove(lease)
                held.append(lease)
                # One that died within a transaction has locked what the swap will write.
                if (session_id := lease.succeed(None)) is not None:
                    transactions.end(session_id)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise RebuildRefused(
                f"The consumer of {subscriber.name} doesn't let go of {waiting[0].name}. "
                "Nothing was changed."
            )
        time.sleep(min(0.1, conf.LEASE / 20))


@contextmanager
def _kept(held: list[Lease]) -> Iterator[list[Lease]]:
    """Keep leases for as long as it takes, those too that are added to the list; then release."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(conf.LEASE / 5):
            for one in list(held):
                try:
                    one.keep()
                except PyMongoError as error:
                    logger.warning("Lease %s not renewed: %s", one.name, error)

    keeper = threading.Thread(target=keep, name="leases", daemon=True)
    keeper.start()
    try:
        yield held
    finally:
        ended.set()
        keeper.join()
        for one in held:
            # Those that can't be given back run out.
            with suppress(PyMongoError):
                one.release()


def _drop_leftovers(subscriber: Subscriber) -> None:
    """Drop what rebuilds have left that died."""
    database = connections.database()
    begins = re.escape(prefix(subscriber))
    for name in database.list_collection_names(filter={"name": {"$regex": f"^{begins}"}}):
        database.drop_collection(name)
