"""Indexes: creates what the outbox's queries stand on. Run by `migrate` and `outbox_indexes`."""

from collections.abc import Iterable
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import OperationFailure

from outbox import connections, dispatched, document
from outbox.conf import conf

INDEX_OPTIONS_CONFLICT = 85


def ensure_indexes(collections: Iterable[Any]) -> list[str]:
    """Create the missing indexes; the names, `collection.index`, of all that there should be.

    `collections` are repositories, or names of collections. Idempotent; existing collections are
    only added to. Raises `StoreUnavailable`.
    """
    database, names = connections.database(), []
    # Building an index takes as long as the collection is large: no time-out.
    with connections.store_errors(), pymongo.timeout(None):
        for one in collections:
            name = one if isinstance(one, str) else one.collection
            names += _create(database, name, [*document.INDEXES, *getattr(one, "indexes", ())])
        names += _create(database, dispatched.COLLECTION, dispatched.INDEXES)
        if conf.RETENTION is not None:
            seconds = int(conf.RETENTION.total_seconds())
            names += [_ensure_ttl(database, dispatched.COLLECTION, seconds)]
    return names


def _create(database: Database[Any], collection: str, indexes: list[IndexModel]) -> list[str]:
    # One by one: mongomock loses the partial filter of those that it creates together.
    return [
        f"{collection}.{created}"
        for index in indexes
        for created in database[collection].create_indexes([index])
    ]


def _ensure_ttl(database: Database[Any], collection: str, seconds: int) -> str:
    name = dispatched.TTL_INDEX
    try:
        database[collection].create_index(
            [("dispatched_at", 1)], name=name, expireAfterSeconds=seconds
        )
    except OperationFailure as error:
        if error.code != INDEX_OPTIONS_CONFLICT:
            raise
        # The retention was changed: the index stays, its seconds change.
        index = {"name": name, "expireAfterSeconds": seconds}
        database.command("collMod", collection, index=index)
    return f"{collection}.{name}"
