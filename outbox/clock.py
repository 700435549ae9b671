"""The clock: the database server's, for whatever several processes have to agree on.

Leases and due times are compared between machines; a host whose clock is ten minutes off must not
take a lease early or leave an event lying. Between measurements the process's monotonic clock
carries the time on, so that a jump of the host's clock changes nothing.
"""

import time
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from pymongo import MongoClient
from pymongo.database import Database

#: Seconds that one measurement serves; a failover to a server with another clock ends with it.
MEASURED_FOR = 30.0

_offsets: "WeakKeyDictionary[MongoClient[Any], tuple[float, float]]" = WeakKeyDictionary()
_lock = Lock()


def now(database: Database[Any]) -> datetime:
    """The server's time: aware, UTC, in whole milliseconds, as BSON stores it."""
    moment = datetime.fromtimestamp(time.monotonic() + _offset(database.client), UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def after(database: Database[Any], seconds: float) -> datetime:
    """The server's time `seconds` from now."""
    return now(database) + timedelta(seconds=seconds)


def _offset(client: MongoClient[Any]) -> float:
    """Seconds from this process's monotonic clock to the server's, measured when stale."""
    known = _offsets.get(client)
    if known and time.monotonic() < known[1]:
        return known[0]
    with _lock:
        offset = _measure(client)
        _offsets[client] = (offset, time.monotonic() + MEASURED_FOR)
    return offset


def _measure(client: MongoClient[Any]) -> float:
    sent = time.monotonic()
    try:
        # With the client's codec: a command's own default is a naive time, which is nobody's.
        hello = client.admin.command("hello", codec_options=client.codec_options)
    except NotImplementedError:
        # mongomock lives in this process: its clock is the host's.
        return time.time() - sent
    # The server looked at its clock somewhere between the sending and the answer: the middle.
    server_time: datetime = hello["localTime"]
    return server_time.timestamp() - (sent + time.monotonic()) / 2
