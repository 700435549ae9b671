"""Pending messages: those that wait in their aggregates' documents, read for people to look at.

All functions raise `StoreUnavailable` and `MissingIndex`.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from outbox import connections, message_store, pending_query
from outbox.discovery import collections
from outbox.document import Document, listing
from outbox.message_store import Page, PendingMessage, Selection
from outbox.pending_query import partitions

__all__ = [
    "Key",
    "conversation",
    "count",
    "key",
    "keys",
    "located",
    "message",
    "messages",
    "named",
    "partitions",
    "there",
]

#: Messages that are passed over to come to a page, from which on these aren't read in full.
FAR = 200


class Key(NamedTuple):
    """Where a pending message lies."""

    event_id: str
    collection: str
    aggregate_id: str

    def __str__(self) -> str:
        return "/".join(self)


def key(text: str) -> Key | None:
    """The key in its text form, in which the aggregate id comes last and may hold anything."""
    event_id, _, place = text.partition("/")
    collection, _, aggregate_id = place.partition("/")
    return Key(event_id, collection, aggregate_id) if aggregate_id else None


def messages(
    selection: Selection | None = None,
    *,
    skip: int = 0,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[PendingMessage]:
    """What waits to be published; the aggregate that has been due the longest comes first.

    A term is the id of an aggregate or, if nothing waits there, that of an event or a conversation,
    or a type. `cursor` is that of a page before. Raises `InvalidCursor` as well.
    """
    since, last = None, ""
    if cursor is not None:
        since, skip, last = message_store.decode_cursor(cursor, datetime, int, str)
    wanted, is_far = skip + limit + 1, skip >= FAR
    fields = ["event_id"] if is_far else listing.SHOWN
    with connections.store_errors():
        found, is_cut = pending_query.found(
            selection or Selection(), wanted, fields=fields, since=since, bounded=True
        )
        if last:
            skip = _behind(found, last)
        shown = message_store.page(
            found[skip:],
            skip,
            limit,
            lambda: is_cut,
            lambda rows: _cursor(found[: skip + len(rows)]),
        )
        rows = _in_full(shown.messages) if is_far else shown.messages
    return Page(
        messages=[_message(row) for row in rows],
        has_more=shown.has_more,
        partial=shown.partial,
        next=shown.next,
    )


def message(collection: str, aggregate_id: str, event_id: str) -> PendingMessage | None:
    """One message with its payload; None if it isn't pending (any more)."""
    if collection not in collections():
        return None
    matches = listing.pending_matches(event_id=event_id)
    fields = [*listing.SHOWN, *listing.CONTENT]
    with connections.store_errors():
        found = pending_query.in_one(aggregate_id, matches, 1, fields, [collection])
    return _message(found[0]) if found else None


def named(keys: Iterable[str]) -> list[PendingMessage]:
    """Those of these keys, in their text form, that are pending, without payloads: one request."""
    declared = collections()
    places = [place for text in keys if (place := key(text)) and place.collection in declared]
    with connections.store_errors():
        return [_message(row) for row in _rows(places, listing.SHOWN)]


def conversation(correlation_id: str, most: int) -> list[PendingMessage]:
    """The first messages of a conversation that wait, with their metadata; no further than `REACH`.

    One request for each collection.
    """
    matches: Document = {"outbox.pending.metadata.correlationId": {"$eq": correlation_id}}
    fields = [*listing.SHOWN, "metadata"]
    with connections.store_errors():
        found, _ = pending_query.in_queues(matches, most, fields=fields, bounded=True)
    return [_message(row) for row in found]


def keys(selection: Selection, most: int | None = None) -> list[Key]:
    """Where the selected messages lie, those due the longest first; `most` of them, or all."""
    with connections.store_errors():
        found, _ = pending_query.found(selection, most, fields=("event_id",))
    return [_key(row) for row in found]


def count(selection: Selection, most: int | None = None) -> int:
    """How many are selected, counted to `most`."""
    return len(keys(selection, most))


def located(event_ids: Iterable[str]) -> list[Key]:
    """Where the messages of these ids lie, of those that are pending; looks through all that is."""
    matches: Document = {"outbox.pending.event_id": {"$in": list(event_ids)}}
    with connections.store_errors():
        found, _ = pending_query.in_queues(matches, None, fields=("event_id",))
    return [_key(row) for row in found]


def there(keys: Iterable[Key]) -> list[Key]:
    """Those of `keys` that are pending: one request."""
    wanted = list(keys)
    with connections.store_errors():
        found = {_key(row) for row in _rows(wanted, ["event_id"])}
    return [one for one in wanted if one in found]


def _in_full(rows: list[Document]) -> list[Document]:
    """The rows with all that a list shows, those that are still pending: one request."""
    keys = [_key(row) for row in rows]
    found = {_key(row): row for row in _rows(keys, listing.SHOWN)}
    return [found[one] for one in keys if one in found]


def _rows(keys: list[Key], fields: Iterable[str]) -> list[Document]:
    places: dict[str, list[str]] = defaultdict(list)
    for one in keys:
        places[one.collection].append(one.aggregate_id)
    matches: Document = {"outbox.pending.event_id": {"$in": [one.event_id for one in keys]}}
    return pending_query.in_documents(places, matches, fields)


def _key(row: Document) -> Key:
    return Key(row["event_id"], row["collection"], row["aggregate_id"])


def _message(row: Document) -> PendingMessage:
    return PendingMessage(**{name: value for name, value in row.items() if name != "oldest"})


def _cursor(shown: list[Document]) -> str:
    """Where the next page begins: at the due time of the last message, behind that one."""
    last = shown[-1]
    alike = sum(row["oldest"] == last["oldest"] for row in shown)
    return message_store.encode_cursor(last["oldest"], alike, str(_key(last)))


def _behind(found: list[Document], last: str) -> int:
    """How many are passed over to go on behind the message `last`.

    If it has been published, what is left of its aggregate has not been shown; if nothing is, it
    isn't known which of those that have been due as long were: rather some twice than one never.
    """
    keys = [_key(row) for row in found]
    for position, one in enumerate(keys):
        if str(one) == last:
            return position + 1
    wanted = key(last)
    places = (i for i, one in enumerate(keys) if wanted and one[1:] == wanted[1:])
    return next(places, 0)
