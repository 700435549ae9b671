"""Indexes: creates what the outbox's queries stand on. Run by `migrate` and `outbox_indexes`."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import OperationFailure

from outbox import (
    connections,
    dead_letters,
    deferred,
    discarded,
    dispatched,
    document,
    inbox,
    once,
    telemetry,
)
from outbox.conf import conf
from outbox.subscriber import Subscriber

INDEX_OPTIONS_CONFLICT = 85


#: Seconds for all of it. (`pymongo.timeout(None)` would leave the client's own in force.)
BUILDING = 3600.0

#: The outbox's own collections, and the indexes of each.
OWN = {
    dispatched.COLLECTION: dispatched.INDEXES,
    discarded.COLLECTION: discarded.INDEXES,
    inbox.ENTRIES: inbox.INDEXES,
    deferred.COLLECTION: deferred.INDEXES,
    dead_letters.COLLECTION: dead_letters.INDEXES,
    once.COLLECTION: once.INDEXES,
    **telemetry.indexes(),
}


def ensure_indexes(collections: Iterable[Any], subscribers: Iterable[Subscriber] = ()) -> list[str]:
    """Create the missing indexes; the names, `collection.index`, of all that there should be.

    `collections` are repositories, or names of collections; of `subscribers`, projections have
    some. Idempotent; existing collections are only added to. Raises `StoreUnavailable`.
    """
    database, names = connections.database(), []
    with connections.store_errors():
        database.list_collection_names()  # if the server is away, that shows within the time-out
    # Building an index takes as long as the collection is large.
    with connections.store_errors(), pymongo.timeout(BUILDING):
        for one in collections:
            name = one if isinstance(one, str) else one.collection
            names += _create(database, name, [*document.INDEXES, *getattr(one, "indexes", ())])
        for subscriber in subscribers:
            if subscriber.collection is not None:
                names += _create(database, subscriber.collection, subscriber.indexes)
        for collection, indexes in OWN.items():
            names += _create(database, collection, indexes)
        for collection, name, field, retention in _expiries():
            seconds = int(retention.total_seconds())
            names += [_ensure_ttl(database, collection, name, field, seconds)]
    return names


def _expiries() -> list[tuple[str, str, str, timedelta]]:
    """What expires: (collection, index, field, how long after)."""
    found = [(inbox.ENTRIES, inbox.TTL_INDEX, "handled_at", conf.INBOX_RETENTION)]
    if (retention := conf.RETENTION) is not None:
        found.append((dispatched.COLLECTION, dispatched.TTL_INDEX, "dispatched_at", retention))
        found.append((discarded.COLLECTION, discarded.TTL_INDEX, "discarded_at", retention))
        # Only those that are closed have the field.
        found.append((dead_letters.COLLECTION, dead_letters.TTL_INDEX, "closed_at", retention))
    return found


def _create(database: Database[Any], collection: str, indexes: Sequence[IndexModel]) -> list[str]:
    # One by one: mongomock loses the partial filter of those that it creates together.
    return [
        f"{collection}.{created}"
        for index in indexes
        for created in database[collection].create_indexes([index])
    ]


def _ensure_ttl(
    database: Database[Any], collection: str, name: str, field: str, seconds: int
) -> str:
    try:
        database[collection].create_index([(field, 1)], name=name, expireAfterSeconds=seconds)
    except OperationFailure as error:
        if error.code != INDEX_OPTIONS_CONFLICT:
            raise
        # The retention was changed: the index stays, its seconds change.
        index = {"name": name, "expireAfterSeconds": seconds}
        database.command("collMod", collection, index=index)
    return f"{collection}.{name}"
