"""Trimming: takes from the streams what every group has acknowledged and is old enough.

An entry goes when each group of its stream has acknowledged it, each subscriber declared here is
such a group, and it has lain there for `OUTBOX_STREAM_RETENTION` by Redis' clock (which entry ids
are made of). A group that has stopped reading is reported, not trimmed over; and a stream that
nobody reads is left alone.

It is decided and done within one script, so that no group can come, read or be set back in between.
Dying anywhere: the next run goes on.
"""

import logging
import time
from typing import Any, NamedTuple

from outbox import connections, signals, streams
from outbox.beginnings import trimmed_key
from outbox.conf import conf
from outbox.discovery import messaging, topics

logger = logging.getLogger(__name__)

#: Entries that Redis trims at a time; others get their turn in between.
STEP = 10_000

#: Seconds after which a run ends and leaves the rest to the next.
TIME = 20.0

#: Seconds after which a group that is still behind is told of again, whoever is asked to trim.
REMIND_AFTER = 3600

# Trims what is before the first entry that must stay: the oldest one that is not acknowledged by
# some group, or not old enough. Only within such a bound is `~` used, to go a step at a time; `=`
# takes the rest, which is less than a step. Not `ACKED`, which some versions do nothing with.
# Ids are compared as text, since their numbers can be larger than Lua's.
#
# Dry (ARGV[3] is 1), it counts a step's worth at most instead, and changes nothing.
#
# What it notes in KEYS[2] is for `beginnings`. That comes after the trimming: then Redis takes it
# even if its memory is full.
#
# Answers with the number trimmed, whether there may be more, the length, the time, the first entry,
# and for each group (and each of ARGV[4…] that isn't one) its oldest entry not acknowledged and how
# many it has read and not acknowledged.
TRIM = """
local key, noted, retention, step, dry = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[2], ARGV[3]
if redis.call('TYPE', key).ok ~= 'stream' then return false end

local function parts(id) return string.match(id, '^(%d+)-(%d+)$') end
local function less(a, b) if #a ~= #b then return #a < #b end return a < b end
local function before(a, b)
  local a_time, a_number = parts(a)
  local b_time, b_number = parts(b)
  if a_time ~= b_time then return less(a_time, b_time) end
  return less(a_number, b_number)
end
local function first_from(start)
  local found = redis.call('XRANGE', key, start, '+', 'COUNT', 1)
  return found[1] and found[1][1]
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local bound = string.format('%.0f-0', math.max(now - retention, 0))
local rows, known = {}, {}
local function behind(name, oldest, pending)
  if oldest and before(oldest, bound) then bound = oldest end
  rows[#rows + 1] = {name, oldest or '', pending}
end

for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  known[info.name] = true
  local oldest = first_from('(' .. info['last-delivered-id'])
  local pending = redis.call('XPENDING', key, info.name)
  if pending[1] > 0 and not (oldest and before(oldest, pending[2])) then oldest = pending[2] end
  behind(info.name, oldest, pending[1])
end
for i = 4, #ARGV do
  if not known[ARGV[i]] then behind(ARGV[i], first_from('-'), 0) end
end

local trimmed, more = 0, 0
if #rows > 0 and dry == '1' then
  return {#redis.call('XRANGE', key, '-', '(' .. bound, 'COUNT', step), 0,
    redis.call('XLEN', key), now, first_from('-') or '', rows}
end
if #rows > 0 then
  trimmed = redis.call('XTRIM', key, 'MINID', '~', bound, 'LIMIT', step)
  if trimmed > 0 then more = 1
  else trimmed = redis.call('XTRIM', key, 'MINID', '=', bound) end
end
if trimmed > 0 then
  if redis.call('EXISTS', noted) == 0 then
    redis.call('SADD', noted, '')
    for name in pairs(known) do redis.call('SADD', noted, name) end
  else
    for _, name in ipairs(redis.call('SMEMBERS', noted)) do
      if name ~= '' and not known[name] then redis.call('SREM', noted, name) end
    end
  end
end
return {trimmed, more, redis.call('XLEN', key), now, first_from('-') or '', rows}
"""


class Behind(NamedTuple):
    """A group that hasn't acknowledged an entry for longer than `OUTBOX_STREAM_RETENTION`.

    `oldest` is that entry, `age` its seconds; `pending` entries have been read and not
    acknowledged. A subscriber that isn't a group yet has read nothing.
    """

    group: str
    oldest: str
    age: float
    pending: int


class Trimmed(NamedTuple):
    """What became of a stream: entries `trimmed`, and its `length` now.

    `age` is that of its oldest entry, in seconds; 0 if it is empty.
    `groups` is the number of those that read it, or should. Without any nothing is trimmed.
    """

    stream: str
    trimmed: int
    length: int
    age: float
    groups: int
    behind: list[Behind]


def trim(*, dry_run: bool = False) -> list[Trimmed]:
    """Trim the streams of the topics that this project publishes to, and tell who is behind.

    A dry run changes nothing and tells nobody: `trimmed` is what it would be, counted to `STEP`.

    Groups that are behind are logged and sent as the signal `group_behind`, once an hour. Nothing
    is done where `OUTBOX_STREAM_RETENTION` is None. Raises `BrokerUnavailable`.
    """
    if conf.STREAM_RETENTION is None:
        return []
    ends, done = time.monotonic() + TIME, []
    for topic in topics():
        declared = [one.name for one in messaging().subscribes.values() if one.topic == topic]
        for stream in [*streams.streams_of(topic), *streams.left_over(topic)]:
            if (found := _trim(stream, topic, declared, ends, dry_run)) is not None:
                done.append(found)
                if not dry_run:
                    _tell(found, conf.STREAM_RETENTION.total_seconds())
    return done


def _trim(
    stream: str, topic: str, declared: list[str], ends: float, dry_run: bool
) -> Trimmed | None:
    """None if there is no such stream."""
    assert conf.STREAM_RETENTION is not None  # noqa: S101 - looked at before
    retention, total = conf.STREAM_RETENTION.total_seconds(), 0
    keys = [stream, trimmed_key(topic)]
    while True:
        with connections.broker_errors("Redis can't trim"):
            answer: Any = connections.redis_client().eval(
                TRIM, len(keys), *keys, round(retention * 1000), STEP, int(dry_run), *declared
            )
        if answer is None:
            return None
        trimmed, more, length, now, first, rows = answer
        total += trimmed
        if not more or time.monotonic() > ends:
            break
    groups = [
        Behind(name.decode(errors="replace"), oldest.decode(), _age(oldest, now), pending)
        for name, oldest, pending in rows
    ]
    behind = [one for one in groups if one.age > retention]
    return Trimmed(stream, total, length, _age(first, now), len(groups), behind)


def _age(entry_id: bytes, now: int) -> float:
    return (now - int(entry_id.partition(b"-")[0])) / 1000 if entry_id else 0.0


def _tell(found: Trimmed, retention: float) -> None:
    extra = {"action": "trim", "stream": found.stream}
    for one in found.behind:
        if _is_news(f"{found.stream}:{one.group}"):
            logger.warning(
                "%s hasn't acknowledged %s of %s for %.0f s, so nothing from there on is trimmed; "
                "%s entries are read and not acknowledged. Run it, or remove its group.",
                one.group,
                one.oldest,
                found.stream,
                one.age,
                one.pending,
                extra=extra | {"subscriber": one.group},
            )
            signals.group_behind.send_robust(
                one.group, stream=found.stream, oldest=one.oldest, age=one.age, pending=one.pending
            )
    if not found.groups and found.age > retention and _is_news(found.stream):
        logger.warning(
            "Nobody reads %s, so its %s entries are not trimmed.",
            found.stream,
            found.length,
            extra=extra,
        )


def _is_news(what: str) -> bool:
    """Whether it hasn't been told of lately, by any process."""
    # Dying after this: it is told an hour later.
    with connections.broker_errors("Redis can't trim"):
        client = connections.redis_client()
        return bool(client.set(f"outbox:behind:{what}", 1, nx=True, ex=REMIND_AFTER))
