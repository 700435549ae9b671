"""The clock: the database server's, for whatever several processes have to agree on.

Leases and due times are compared between machines; a host whose clock is ten minutes off must not
take a lease early or leave an event lying. Between measurements the process's monotonic clock
carries the time on, so that a jump of the host's clock changes nothing.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple
from weakref import finalize

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

#: Seconds that one measurement serves; a failover to a server with another clock ends with it.
MEASURED_FOR = 30.0
#: Seconds until the next try after one that failed or took too long.
TRY_AGAIN_AFTER = 2.0
#: Seconds that an answer may take to be exact enough: half of it is the error, at worst.
PROMPT = 0.1


class Offset(NamedTuple):
    """Seconds from this process's monotonic clock to the server's, and until when that serves."""

    seconds: float
    until: float


#: By the client's `id`, for as long as it lives: its own hash is slow, and each save asks.
_offsets: dict[int, Offset] = {}
_lock = Lock()


def _forked() -> None:
    """A child can be forked while a thread that it doesn't have holds the lock."""
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_forked)


def now(database: Database[Any]) -> datetime:
    """The server's time: aware, UTC, in whole milliseconds, as BSON stores it.

    Raises what pymongo raises only if the server was never asked before: a measurement that fails
    later leaves the one before in force.
    """
    offset = _offset(database.client)  # first: asking the server takes time
    return datetime.fromtimestamp(int((time.monotonic() + offset) * 1000) / 1000, UTC)


def after(database: Database[Any], seconds: float) -> datetime:
    """The server's time `seconds` from now."""
    return now(database) + timedelta(seconds=seconds)


def _offset(client: MongoClient[Any]) -> float:
    known = _offsets.get(id(client))
    if known is not None and time.monotonic() < known.until:
        return known.seconds
    # Where there is something to go on with, one thread measures and the others don't wait.
    if not _lock.acquire(blocking=known is None):
        return known.seconds if known else 0.0
    try:
        if (meanwhile := _offsets.get(id(client))) is not known and meanwhile is not None:
            return meanwhile.seconds
        measured = _measured(client, known)
        if known is None:
            finalize(client, _offsets.pop, id(client), None)
        _offsets[id(client)] = measured
        return measured.seconds
    finally:
        _lock.release()


def _measured(client: MongoClient[Any], known: Offset | None) -> Offset:
    best: tuple[float, float] | None = None
    for _ in range(3):
        try:
            found = _measure(client)
        except PyMongoError:
            if known is None:
                raise
            break
        best = min(best or found, found)
        if best[0] <= PROMPT:
            return Offset(best[1], time.monotonic() + MEASURED_FOR)
    # A server that stalls would be taken to be seconds off: better what we knew, if we did.
    seconds = known.seconds if known else best[1] if best else 0.0
    return Offset(seconds, time.monotonic() + TRY_AGAIN_AFTER)


def _measure(client: MongoClient[Any]) -> tuple[float, float]:
    """How long the server took to answer, and the offset."""
    sent = time.monotonic()
    try:
        # With the client's codec: a command's own default is a naive time, which is nobody's.
        hello = client.admin.command("hello", codec_options=client.codec_options)
    except NotImplementedError:
        # mongomock lives in this process: its clock is the host's.
        return 0.0, time.time() - sent
    answered, server_time = time.monotonic(), hello["localTime"]
    # The server looked at its clock somewhere between the sending and the answer: the middle.
    return answered - sent, server_time.timestamp() - (sent + answered) / 2
