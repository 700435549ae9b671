"""Idempotent adding: a message that is sent again adds nothing, on a server that has `XADD … IDMP`.

That is Redis 8.6 and later; Valkey has none. It keeps, in each stream, the last ids of each
producer. The server is asked by doing it, since versions don't tell. Best effort: ids are forgotten
after a day, or when there are too many, and then the inbox absorbs the repeat, as it does on
servers without.
"""

import logging
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from outbox.conf import conf
from outbox.envelope import Envelope

logger = logging.getLogger(__name__)

#: What a server without IDMP says of it: it takes the word for the entry's id.
UNKNOWN = "Invalid stream ID"

#: A stream that is never there.
PROBE = "outbox:idempotence"

#: Seconds that an id is kept, and ids a producer: as many as the server allows. A relay has at most
#: one batch that it doesn't know the outcome of; after an outage, it may be hours old.
DURATION = 86_400
MAXSIZE = 10_000

# Has a stream keep as much, and makes it if need be, which only a group can do; within a script, so
# that no group is left behind. The server forgets what ids it has for this: so only if it must.
ENLARGE = """
local key, duration, size = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('EXISTS', key) == 0 then
  redis.call('XGROUP', 'CREATE', key, 'outbox', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', key, 'outbox')
end
local info, kept = redis.call('XINFO', 'STREAM', key), {}
for i = 1, #info, 2 do kept[info[i]] = info[i + 1] end
if kept['idmp-duration'] < duration or kept['idmp-maxsize'] < size then
  redis.call('XCFGSET', key, 'IDMP-DURATION', duration, 'IDMP-MAXSIZE', size)
end
"""

#: The streams of each server that have been told so; None if the server has no IDMP.
_servers: WeakKeyDictionary["redis.Redis", set[str] | None] = WeakKeyDictionary()


def prepare(client: "redis.Redis", streams: Iterable[str]) -> bool:
    """Whether this server has IDMP, asked once a client; if so, let these streams keep enough ids.

    Raises what redis-py raises when the server can't be reached.
    """
    if client not in _servers and (found := _has_idmp(client)) is not None:
        _servers[client] = set() if found else None
    if (prepared := _servers.get(client)) is None:
        return False
    if new := sorted(set(streams) - prepared):
        _enlarge(client, new)
        prepared.update(new)
    return True


def forget(client: "redis.Redis") -> None:
    """Ask anew before the next batch: another server may answer by then."""
    _servers.pop(client, None)


def producer(aggregate_id: str) -> str:
    """The producer of an aggregate's messages: the relay of its partition."""
    return f"outbox:{crc32(aggregate_id.encode()) % conf.PARTITIONS}"


def once_id(envelope: Envelope) -> str:
    """The id by which the stream knows a message again; none for a replay, which is meant to."""
    return "" if "replay" in envelope.metadata else envelope.event_id


def _has_idmp(client: Any) -> bool | None:
    """None if the server is in no state to tell."""
    try:
        # NOMKSTREAM: the stream isn't made, so nothing is added.
        client.execute_command(
            "XADD", PROBE, "NOMKSTREAM", "IDMP", "outbox", "probe", "*", "event", ""
        )
    except ResponseError as error:
        return False if isinstance(error, NoPermissionError) or UNKNOWN in str(error) else None
    return True


def _enlarge(client: "redis.Redis", streams: list[str]) -> None:
    pipeline = client.pipeline(transaction=False)
    for one in streams:
        pipeline.eval(ENLARGE, 1, one, DURATION, MAXSIZE)
    answers = pipeline.execute(raise_on_error=False)
    for one, error in zip(streams, answers, strict=True):
        if isinstance(error, RedisError):
            logger.warning(
                "Some messages may be added to %s twice, it keeps few of their ids: %s",
                one,
                error,
                extra={"action": "publish", "stream": one},
            )
