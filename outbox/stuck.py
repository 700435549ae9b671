"""Stuck messages: those that the broker refuses again and again, and what people can do about them.

The relay drops nothing by itself: it goes on trying, less and less often. From its
`OUTBOX_STUCK_AFTER`-th failure on a message is *stuck*, and counted here. `retry` has it tried at
once; `discard` gives it up and lets a tombstone take its place, so that no consumer waits for its
sequence number. Admin, API and commands call these functions.

All raise `StoreUnavailable` and `MissingIndex`.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from outbox import clock, connections, document, pending_actions
from outbox.conf import conf
from outbox.discovery import collections
from outbox.document import Document, listing, relaying
from outbox.errors import NoSuchMessage
from outbox.pending import Key
from outbox.wake import wake

logger = logging.getLogger(__name__)

#: Documents that are read and released at a time.
PAGE = 500


class Stuck(NamedTuple):
    """A pending message: where it is, what it is, how often it has failed, and why at last."""

    collection: str
    aggregate_id: str
    event_id: str | None
    attempts: int
    last_error: str
    type: str
    topic: str
    sequence: int

    def __str__(self) -> str:
        failed = f"failed {self.attempts} times: {self.last_error}" if self.attempts else "waits"
        return (
            f"{self.event_id}, {self.type}, number {self.sequence} of {self.collection} "
            f"{self.aggregate_id} in {self.topic}; {failed}"
        )


def count(collection: str | None = None) -> int:
    """How many messages are stuck."""
    with connections.store_errors():
        return sum(
            connections.collection(name).count_documents(
                relaying.failed(conf.STUCK_AFTER), hint=document.FAILED_INDEX
            )
            for name in _named(collection)
        )


def messages(collection: str | None = None, *, attempts: int | None = None) -> Iterator[Stuck]:
    """The stuck messages, or all that have failed `attempts` times: with 1, whatever has failed."""
    least = conf.STUCK_AFTER if attempts is None else attempts
    with connections.store_errors():
        for name in _named(collection):
            for stored in _failed(name, least):
                # It is the first: those behind it were never tried.
                first = relaying.pending(stored)[0]
                yield _stuck(name, stored["_id"], first)


def find(event_id: str) -> Stuck:
    """The pending message of this id, failed or not. Raises `NoSuchMessage`.

    Looks through all that is pending.
    """
    where = listing.WAITING | listing.pending_matches(event_id=event_id)
    with connections.store_errors():
        for name in collections():
            documents = connections.collection(name)
            cursor = documents.find(where, relaying.FAILED, limit=1).hint(document.DUE_INDEX)
            for stored in cursor:
                for entry in relaying.pending(stored):
                    if entry.get("event_id") == event_id:
                        return _stuck(name, stored["_id"], entry)
    raise NoSuchMessage(f"{event_id} isn't pending: it has been published, or was never there.")


def retry(collection: str, aggregate_id: str, event_id: str, *, by: str = "") -> None:
    """Have this message tried at once, and those that wait for it or that it waits for.

    It counts as never tried. Doing it twice does no harm. Raises `NoSuchMessage` if it isn't
    pending: it was published meanwhile, or never was there.
    """
    key = Key(event_id, collection, aggregate_id)
    if not pending_actions.release([key]):
        raise _nothing_there(key)
    logger.warning(
        "%s has %s of %s %s tried again.",
        by or "Somebody",
        event_id,
        collection,
        aggregate_id,
        extra=_log("retry", collection, aggregate_id, event_id, by),
    )


def retry_all(collection: str | None = None, *, attempts: int | None = None, by: str = "") -> int:
    """Have all that `messages` names tried at once; how many that were.

    Two requests for 500 of them, so that a long outage of the broker's memory or rights is over
    as soon as it is mended.
    """
    least, released = conf.STUCK_AFTER if attempts is None else attempts, 0
    with connections.store_errors():
        for name in _named(collection):
            documents = connections.collection(name)
            left = documents.count_documents(relaying.failed(least), hint=document.FAILED_INDEX)
            # As many as there were, and no more: while the fault lasts, they fail again.
            while left > 0 and (found := list(_failed(name, least, limit=PAGE))):
                now, left = clock.now(documents.database), left - len(found)
                connections.update_each(
                    documents,
                    [relaying.release(one["_id"], relaying.pending(one), now) for one in found],
                )
                released += len(found)
                for partition in {relaying.partition(one) for one in found}:
                    wake(name, partition)
    logger.warning(
        "%s has %s messages tried again.",
        by or "Somebody",
        released,
        extra={"action": "retry", "count": released, "by": by},
    )
    return released


def discard(
    collection: str, aggregate_id: str, event_id: str, *, reason: str, by: str = ""
) -> None:
    """Give this message up for good: a tombstone is published in its place.

    The tombstone has the message's id, type and sequence number, the payload null, and
    `"discarded": true` in its metadata. The message itself is kept with who gave it up and why,
    in `outbox_discarded`, for `OUTBOX_RETENTION`. Doing it twice has one effect. Waits until no
    relay is at work on it, at most some `OUTBOX_LEASE`s; so it hasn't been published, unless by a
    relay that died before it could say so. Raises `NoSuchMessage` if it isn't pending: it was
    published meanwhile, or never was there.
    """
    key = Key(event_id, collection, aggregate_id)
    if not any(pending_actions.bury([key], reason=reason, by=by)):
        raise _nothing_there(key)
    logger.warning(
        "%s has given up %s of %s %s: %s",
        by or "Somebody",
        event_id,
        collection,
        aggregate_id,
        reason,
        extra=_log("discard", collection, aggregate_id, event_id, by),
    )


def _nothing_there(key: Key) -> NoSuchMessage:
    return NoSuchMessage(
        f"{key.event_id} isn't pending in {key.collection} {key.aggregate_id}: it has been "
        "published, or was never there."
    )


def _stuck(collection: str, aggregate_id: str, entry: Document) -> Stuck:
    return Stuck(
        collection,
        aggregate_id,
        entry.get("event_id"),
        entry.get("attempts", 0),
        entry.get("last_error", ""),
        entry.get("type", "?"),
        entry.get("topic", "?"),
        entry.get("sequence", 0),
    )


def _failed(collection: str, attempts: int, limit: int = 0) -> Iterable[Document]:
    """Documents with a failed message; of their messages what `release` needs."""
    return (
        connections.collection(collection)
        .find(relaying.failed(attempts), relaying.FAILED, limit=limit, batch_size=PAGE)
        .hint(document.FAILED_INDEX)
    )


def _named(collection: str | None) -> list[str]:
    return collections() if collection is None else [collection]


def _log(action: str, collection: str, aggregate_id: str, event_id: str, by: str) -> Document:
    return {
        "action": action,
        "collection": collection,
        "aggregate_id": aggregate_id,
        "event_id": event_id,
        "by": by,
    }
