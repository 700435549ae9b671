"""What people do about pending messages: have them tried again, or give them up.

Many at a time: two requests for a page of documents, and safe against relays at work, against who
does the same at the same moment, and when repeated. All raise `StoreUnavailable`.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple

from outbox import clock, connections, discarded, relay, signals
from outbox.conf import conf
from outbox.connections import Update
from outbox.document import Document, relaying
from outbox.errors import StoreUnavailable
from outbox.lease import Lease
from outbox.pending import Key
from outbox.wake import wake

#: Messages whose documents are read and changed at a time; fewer, where payloads are read.
PAGE, PAGE_WITH_PAYLOADS = 500, 100

#: How often documents that change meanwhile are read again.
RERUNS = 20

Progress = Callable[[int], object]


class Found(NamedTuple):
    """A document with wanted messages, and where in the order of its messages these are."""

    aggregate_id: str
    partition: int
    entries: list[Document]
    positions: list[int]


def release(keys: Iterable[Key], progress: Progress = lambda done: None) -> list[Key]:
    """Have messages tried at once, and those that wait for them or that they wait for.

    They count as never tried. Doing it twice does no harm. Those that were pending.
    """

    def released(found: list[Found], now: datetime) -> list[Update]:
        return [relaying.release(one.aggregate_id, one.entries, now) for one in found]

    done: list[Key] = []
    for collection, here in _by_collection(keys):
        for page in _pages(here, PAGE):
            found = _change(collection, page, released, relaying.FAILED)
            done += _keys(collection, found)
            for partition in {one.partition for one in found}:
                wake(collection, partition)
            progress(len(done))
    return done


def bury(
    keys: Iterable[Key], *, reason: str, by: str, progress: Progress = lambda done: None
) -> list[Key]:
    """Give messages up for good; those that are, and weren't before.

    A tombstone is published in place of each: it has the message's id, type and sequence number,
    the payload null, and `"discarded": true` in its metadata, so that no consumer waits for the
    number. The message itself is kept in `outbox_discarded`, for `OUTBOX_RETENTION`. Waits until no
    relay is at work on a partition, at most some `OUTBOX_LEASE`s, and keeps relays from it
    meanwhile; so none has been published, unless by a relay that died before it could say so.
    """
    if not reason.strip():
        raise ValueError("Give a reason: somebody will want to know.")
    done: list[Key] = []
    for collection, here in _by_collection(keys):
        for partition, waiting in _by_partition(collection, here).items():
            with _relays_held_off(collection, partition) as held:
                for page in _pages(waiting, PAGE_WITH_PAYLOADS):
                    if not held.keep():
                        _wait_for(held)
                    done += _bury(collection, page, reason, by)
                    progress(len(done))
            wake(collection, partition)
    return done


def _bury(collection: str, keys: Sequence[Key], reason: str, by: str) -> list[Key]:
    """Give up what of `keys` is pending and no tombstone; those that this was done to."""
    new: dict[str, tuple[str, Document]] = {}

    def buried(found: list[Found], now: datetime) -> list[Update]:
        chosen = [
            (one, position)
            for one in found
            for position in one.positions
            if not relaying.is_tombstone(one.entries[position])
        ]
        kept = [(one.aggregate_id, one.entries[position]) for one, position in chosen]
        # Dying after this: they are recorded and still pending; to be discarded again.
        discarded.keep(collection, kept, at=now, by=by, reason=reason)
        new.update({entry["event_id"]: (aggregate_id, entry) for aggregate_id, entry in kept})
        return [
            relaying.bury(one.aggregate_id, one.entries, position, now) for one, position in chosen
        ]

    found = _change(collection, keys, buried, relaying.DUE | relaying.PARTITION)
    if new:
        envelopes = [relaying.envelope_or_none(*one) for one in new.values()]
        signals.messages_discarded.send_robust(
            collection, messages=[one for one in envelopes if one], by=by, reason=reason
        )
    return [key for key in _keys(collection, found) if key.event_id in new]


def _change(
    collection: str,
    keys: Sequence[Key],
    change: Callable[[list[Found], datetime], list[Update]],
    what: Document,
) -> list[Found]:
    """Update the documents of `keys` as `change` says, who is told where in them these are.

    Those that were found there.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        wanted[key.aggregate_id].append(key.event_id)
    with connections.store_errors():
        documents, found = connections.collection(collection), []
        for _ in range(RERUNS):
            where = {"_id": {"$in": list(wanted)}}
            stored = documents.find(where, what, batch_size=len(wanted) + 1)
            found = [one for one in (_find(each, wanted) for each in stored) if one.positions]
            if not found:
                break
            updates = change(found, clock.now(documents.database))
            # Not if the relay has pulled some meanwhile: the positions have changed.
            if connections.update_each(documents, updates) == len(updates):
                break
    return found


def _find(stored: Document, wanted: dict[str, list[str]]) -> Found:
    entries = stored.get("outbox", {}).get("pending", [])
    ids = wanted[stored["_id"]]
    positions = [i for i, entry in enumerate(entries) if entry.get("event_id") in ids]
    partition = relaying.partition(stored) if positions else -1
    return Found(stored["_id"], partition, entries, positions)


def _keys(collection: str, found: list[Found]) -> list[Key]:
    return [
        Key(one.entries[position]["event_id"], collection, one.aggregate_id)
        for one in found
        for position in one.positions
    ]


@contextmanager
def _relays_held_off(collection: str, partition: int) -> Iterator[Lease]:
    """Have no relay at work on a partition meanwhile: it could have read what is to change."""
    held = relay.lease(collection, partition)
    with connections.store_errors():
        _wait_for(held)
        try:
            yield held
        finally:
            held.release()


def _wait_for(held: Lease) -> None:
    ends = time.monotonic() + 4 * conf.LEASE
    while not held.acquire():
        if time.monotonic() > ends:
            raise StoreUnavailable(f"A relay is at work on {held.name} and goes on and on.")
        held.claim()
        time.sleep(0.02)


def _by_collection(keys: Iterable[Key]) -> Iterator[tuple[str, list[Key]]]:
    # A stable sort: what was due the longest comes first within each.
    by_name = attrgetter("collection")
    for collection, here in groupby(sorted(keys, key=by_name), by_name):
        yield collection, list(here)


def _by_partition(collection: str, keys: Sequence[Key]) -> dict[int, list[Key]]:
    found: dict[int, list[Key]] = defaultdict(list)
    with connections.store_errors():
        documents = connections.collection(collection)
        for page in _pages(keys, PAGE):
            ids = list({key.aggregate_id for key in page})
            stored = documents.find({"_id": {"$in": ids}}, relaying.PARTITION)
            partitions = {one["_id"]: one.get("outbox", {}).get("partition") for one in stored}
            for key in page:
                if (partition := partitions.get(key.aggregate_id)) is not None:
                    found[partition].append(key)
    return found


def _pages(keys: Iterable[Key], size: int) -> Iterator[list[Key]]:
    rest = iter(keys)
    while page := list(islice(rest, size)):
        yield page
