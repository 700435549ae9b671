"""Documents: the aggregates of a collection, read for people to look at.

A listing is bounded, whatever the size of the collection: it follows an index, rather raises
`MissingIndex` than scan, and reaches no further than `message_store.REACH`. Both functions raise
`StoreUnavailable`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from outbox import connections, message_store
from outbox.connections import Document
from outbox.document import showing
from outbox.message_store import Page

#: Fields and directions that a list is ordered by; an index on them has to exist, and one on each
#: field that is filtered or searched by with these behind it.
Order = Sequence[tuple[str, int]]


def listed(
    collection: str,
    order: Order,
    *,
    term: str = "",
    search: Sequence[str] = (),
    equal: Mapping[str, Any] | None = None,
    skip: int = 0,
    limit: int = 50,
) -> Page[Document]:
    """A page of documents without their outbox, in the order of an index.

    `term` is an id or, if nothing has it, the value of one of the fields to `search`. Of several
    fields in `equal` the first one's index is followed.
    """
    wanted: Document = {name: {"$eq": value} for name, value in (equal or {}).items()}
    with connections.store_errors():
        if not term:
            first = dict(list(wanted.items())[:1])
            rest = dict(list(wanted.items())[1:])
            return _page(collection, first, rest, order, skip, limit)
        where = {"_id": {"$eq": term}, **wanted}
        documents = connections.collection(collection)
        if found := documents.find_one(where, showing.LISTED):
            return Page(messages=[found] if skip == 0 else [])
        for name in search:
            page = _page(collection, {name: {"$eq": term}}, wanted, order, skip, limit)
            if page.messages:
                return page
    return Page(messages=[])


def one(collection: str, aggregate_id: str) -> Document | None:
    """A document with what the page of an aggregate shows of its outbox; None if there is none."""
    with connections.store_errors():
        found: Document | None = connections.collection(collection).find_one(
            {"_id": {"$eq": aggregate_id}}, showing.LOADED
        )
    return found


def _page(
    collection: str, where: Document, then: Document, order: Order, skip: int, limit: int
) -> Page[Document]:
    """The documents of which an index has `where`; `then` is held against those it brings."""
    keys = {**dict.fromkeys(where, 1), **dict(order)}
    hint = {"_id": 1} if list(keys) == ["_id"] else keys
    stages: list[Document] = [
        {"$match": where},
        {"$sort": dict(order)},
        {"$limit": message_store.REACH},
        *([{"$match": then}] if then else []),
        *([{"$skip": skip}] if skip else []),
        {"$limit": limit + 1},
        {"$project": showing.LISTED},
    ]
    documents = connections.collection(collection)
    found = list(documents.aggregate(stages, hint=hint))

    def reaches_past() -> bool:
        # Without anything left to filter, all that there is has been found.
        beyond = documents.find(where, {"_id": 1}, skip=message_store.REACH, limit=1)
        return bool(then) and any(beyond.hint(list(hint.items())))

    return message_store.page(found, skip, limit, reaches_past)
