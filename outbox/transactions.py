"""Transactions: for what has to be stored together and can't be one document. A few things only.

The outbox itself needs none. A handler `within` a save does, and a transactional subscriber; those
need a replica set, if only of one, or a sharded cluster.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import pymongo
from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from outbox import connections
from outbox.conf import conf
from outbox.errors import NoTransactions, TransactionGivenUp

#: What pymongo calls a `ClientSession`; None on mongomock, which has none.
Session = Any

R = TypeVar("R")

ILLEGAL_OPERATION = 20


def supported(database: Database[Any]) -> bool:
    """Whether the server has transactions. Asks it; raises what pymongo raises."""
    try:
        hello = database.client.admin.command("hello")
    except NotImplementedError:  # mongomock
        return False
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def run(callback: Callable[[Session], R], *, within: Session = None, most: int | None = None) -> R:
    """What `callback(session)` returns, once all that it stored with `session` is committed.

    The session is a new one, or `within`, which stays open. After `most` runs it is given up, and
    `TransactionGivenUp` raised.

    All of it or nothing: what the callback raises aborts the transaction and is raised here. It
    sees the database as it was at one moment, and a majority has what it stored. **It may be run
    again**, when another transaction was in its way or the primary changed; so beside what it does
    with the session it must do nothing that may not be done twice. Repeats included, it has
    `OUTBOX_MONGODB_TIMEOUT` seconds.

    Raises `StoreUnavailable`, after which it isn't known if anything is stored, and
    `NoTransactions` on a standalone server, where nothing is. On `mongomock://` it is simply called
    with None: nothing is undone there, which will do for fast tests only.
    """
    runs = 0

    def counted(session: Session) -> R:
        nonlocal runs
        runs += 1
        if most is not None and runs > most:
            raise TransactionGivenUp
        return callback(session)

    with connections.store_errors(), pymongo.timeout(conf.MONGODB_TIMEOUT):
        try:
            session = within or connections.database().client.start_session()
        except NotImplementedError:  # mongomock
            return callback(None)
        with nullcontext() if within else session:
            try:
                return session.with_transaction(
                    counted,
                    read_concern=ReadConcern("snapshot"),
                    write_concern=WriteConcern("majority"),
                )
            except OperationFailure as error:
                if error.code == ILLEGAL_OPERATION and "Transaction numbers" in str(error):
                    raise NoTransactions from error
                raise


def end(session_id: Any) -> None:
    """End the transaction that a session has left open, if any: that of a process that died.

    The server would do so a minute later, and until then lock everybody out of what it has written.
    """
    connections.database().client.admin.command("killSessions", [session_id])
