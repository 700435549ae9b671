"""The broker's state: what lies on the streams, and how far each group is."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from outbox import connections, streams

#: Entries that are counted, where Redis (before 7) can't say how far behind a group is.
COUNTED = 10_000

#: Seconds that Redis may take to answer: people wait for it.
PATIENCE = 2.0

# For each stream: its length, the time, its first entry, and of each group how many entries it
# hasn't read, as Redis says or counted as far as ARGV[1], then with 0 if there may be more; the
# oldest of these; how many it has read and not acknowledged, and the oldest of those.
READ = """
local key, most = KEYS[1], tonumber(ARGV[1])
local kind = redis.call('TYPE', key).ok
if kind ~= 'stream' then return kind ~= 'none' and kind end
local clock = redis.call('TIME')
local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
local rows = {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  local last = info['last-delivered-id']
  local unread = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)
  local held = redis.call('XPENDING', key, info.name)
  local lag, exact = info.lag, 1
  if #unread == 0 then lag = 0 end
  if not lag then
    lag = 0
    while true do
      local found = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1000)
      if #found == 0 then break end
      lag, last = lag + #found, found[#found][1]
      if lag >= most then exact = 0 break end
    end
  end
  local oldest = unread[1] and unread[1][1] or ''
  rows[#rows + 1] = {info.name, lag, exact, oldest, held[1], held[2] or ''}
end
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
return {redis.call('XLEN', key), now, first[1] and first[1][1] or '', rows}
"""


class BrokerState(NamedTuple):
    """How the streams are.

    `groups` by subscriber; without those that aren't known because a key of another kind lies where
    a stream should be. `entries` by topic. `strange`: such keys, and of what kind each is.
    """

    groups: "dict[str, GroupState]"
    entries: dict[str, int]
    strange: dict[str, str]


class GroupState(NamedTuple):
    """A group over all streams of its topic: `seconds` is the age of the oldest that it owes."""

    lag: int
    lag_is_exact: bool
    seconds: float
    unacknowledged: int


def read(topics: Iterable[str], subscribers: Mapping[str, str]) -> BrokerState:
    """The state of `topics`, and of `subscribers`, {name: topic}.

    One request, and one for each topic that was once spread over more streams. A subscriber that
    has never read anything owes all there is. Raises `BrokerUnavailable`.
    """
    wanted = sorted({*topics, *subscribers.values()})
    places = [(topic, one) for topic in wanted for one in _streams(topic)]
    pipeline = connections.redis_client(PATIENCE).pipeline(transaction=False)
    for _, stream in places:
        pipeline.eval(READ, 1, stream, COUNTED)
    with connections.broker_errors("Redis can't say how the streams are"):
        answers: list[Any] = pipeline.execute()
    groups: dict[str, GroupState] = {}
    entries: dict[str, int] = dict.fromkeys(wanted, 0)
    strange: dict[str, str] = {}
    for (topic, stream), answer in zip(places, answers, strict=True):
        if isinstance(answer, bytes):
            strange[stream] = answer.decode()
            continue
        length, now, first, rows = answer or (0, 0, b"", [])
        entries[topic] += length
        found = {row[0].decode(errors="replace"): _group(row, now) for row in rows}
        for name in (one for one, its in subscribers.items() if its == topic):
            here = found.get(name, GroupState(length, True, _age(now, first), 0))
            groups[name] = _sum(groups[name], here) if name in groups else here
    return BrokerState(groups, entries, strange)


def _streams(topic: str) -> list[str]:
    return [*streams.streams_of(topic), *streams.left_over(topic, timeout=PATIENCE)]


def _group(row: list[Any], now: int) -> GroupState:
    _, lag, exact, unread, held, oldest_held = row
    return GroupState(lag, bool(exact), _age(now, unread, oldest_held), held)


def _age(now: int, *entry_ids: bytes) -> float:
    """The seconds since the oldest of these entries was added; 0 if there is none."""
    times = [int(one.partition(b"-")[0]) for one in entry_ids if one]
    return max(0.0, (now - min(times)) / 1000) if times else 0.0


def _sum(one: GroupState, other: GroupState) -> GroupState:
    return GroupState(
        one.lag + other.lag,
        one.lag_is_exact and other.lag_is_exact,
        max(one.seconds, other.seconds),
        one.unacknowledged + other.unacknowledged,
    )
