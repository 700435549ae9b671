"""Connections: one MongoDB client and one Redis client a process, opened on first use.

The process id is part of each cache's key, so a child that Celery or gunicorn forks opens its own
client and never shares a socket with its parent.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from outbox.conf import conf
from outbox.errors import BrokerUnavailable, MissingIndex, StoreUnavailable

Document = dict[str, Any]

#: A filter and the update for what it finds.
Update = tuple[Document, Document]

DUPLICATE_KEY = 11000

#: What MongoDB answers when the fault is its own state: OutOfDiskSpace.
STORE_FAULTS = {14031}


def database() -> Database[Document]:
    """The database of the aggregates and the outbox; writes wait for a majority."""
    client = _mongo_client(conf.MONGODB_URI, conf.MONGODB_TIMEOUT, os.getpid())
    return client.get_database(conf.MONGODB_DATABASE, write_concern=WriteConcern("majority"))


def collection(name: str) -> Collection[Document]:
    """A collection of that database."""
    at = (conf.MONGODB_URI, conf.MONGODB_TIMEOUT, conf.MONGODB_DATABASE)
    return _collection(name, at, os.getpid())


def redis_client(timeout: float | None = None) -> "redis.Redis":
    """A Redis client that never sends a command twice.

    redis-py repeats a command whose answer was lost, which would put a message on the stream
    twice; here a lost answer is an error, and the caller decides.
    """
    return _redis_client(conf.REDIS_URL, timeout or conf.REDIS_TIMEOUT, os.getpid())


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever pymongo says when the server is away or silent.

    And `MissingIndex` for a query whose index isn't there.
    """
    try:
        yield
    except (ConnectionFailure, NetworkTimeout, NotPrimaryError) as error:
        # Without pymongo's account of each server, which says the same at length.
        reason = str(error).partition(", Timeout: ")[0]
        raise StoreUnavailable(f"MongoDB can't be reached: {reason}") from error
    except (ExecutionTimeout, WTimeoutError) as error:
        raise StoreUnavailable(f"MongoDB did not answer in time: {error}") from error
    except PyMongoError as error:
        if _is_the_stores_fault(error):
            raise StoreUnavailable(f"MongoDB can't store anything now: {error}") from error
        if error.timeout:
            raise StoreUnavailable(f"MongoDB did not answer in time: {error}") from error
        if "hint provided" in str(error):
            raise MissingIndex from error
        raise


def _is_the_stores_fault(error: PyMongoError) -> bool:
    """Whether it is about the server's state, and would go for any other request as well."""
    if isinstance(error, WriteConcernError):
        return True  # done, and nobody knows if a failover would undo it
    if not isinstance(error, OperationFailure):
        return False
    details: Any = error.details or {}
    codes = {error.code, *(one["code"] for one in details.get("writeErrors", ()))}
    return bool(details.get("writeConcernErrors")) or bool(codes & STORE_FAULTS)


def is_in_process() -> bool:
    """Whether the store is mongomock, which lacks much of what a server can do."""
    return conf.MONGODB_URI.startswith("mongomock://")


def update_each(documents: Collection[Document], updates: Sequence[Update]) -> int:
    """Update one document by each of `updates`, independently and in one request.

    How many of the filters have found theirs.
    """
    if is_in_process():  # its bulk_write doesn't fit the pymongo of today
        return sum(documents.update_one(*one).matched_count for one in updates)
    if not updates:
        return 0
    return documents.bulk_write([UpdateOne(*one) for one in updates], ordered=False).matched_count


@contextmanager
def broker_errors(
    unreachable: str = "Redis can't be reached", refused: str | None = None
) -> Iterator[None]:
    """Raise `BrokerUnavailable` for whatever redis-py says.

    `unreachable` is what is said of it; `refused`, if it is given, of what Redis itself answers.
    """
    try:
        yield
    except RedisError as error:
        answered = refused and isinstance(error, ResponseError)
        raise BrokerUnavailable(f"{refused if answered else unreachable}: {error}") from error


def raise_unless_duplicate(error: BulkWriteError) -> None:
    """Let pass that documents were there already; and nothing else."""
    details: Any = error.details
    # mongomock's has no second list.
    errors = [*details["writeErrors"], *details.get("writeConcernErrors", ())]
    if any(one["code"] != DUPLICATE_KEY for one in errors):
        raise error


@cache
def _collection(name: str, at: tuple[str, float, str], pid: int) -> Collection[Document]:
    return database()[name]


@cache
def _mongo_client(uri: str, timeout: float, pid: int) -> MongoClient[Document]:
    if uri.startswith("mongomock://"):
        import mongomock  # optional: only who asks for the in-process store has it

        in_process: MongoClient[Document] = mongomock.MongoClient(tz_aware=True)
        return in_process
    with _readable("OUTBOX_MONGODB_URI"):
        return MongoClient(
            uri,
            tz_aware=True,
            appname="outbox",
            timeoutMS=round(timeout * 1000),
            serverSelectionTimeoutMS=round(timeout * 500),
        )


@cache
def _redis_client(url: str, timeout: float, pid: int) -> "redis.Redis":
    with _readable("OUTBOX_REDIS_URL"):
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )


@contextmanager
def _readable(setting: str) -> Iterator[None]:
    """Say which address can't be read, and not what is in it: a password, as like as not."""
    try:
        yield
    except (ValueError, InvalidURI):
        raise ImproperlyConfigured(
            f"{setting} can't be read as an address: in user names and passwords, percent-encode "
            "what isn't a letter or a digit."
        ) from None
