"""The consumer group: a subscriber's side of a Redis stream."""

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from outbox import connections, redis_errors, signals
from outbox.conf import conf
from outbox.errors import StreamUnavailable

logger = logging.getLogger(__name__)

FIELD = b"event"

#: Bytes that are shown of what isn't UTF-8.
LONGEST_STRANGE = 1_000_000

#: Seconds after which a consumer that holds nothing is removed from its group.
FORGOTTEN_AFTER = 3600


class Entry(NamedTuple):
    """An entry of a stream; `text` is None if the entry was trimmed before it could be read."""

    id: str
    text: str | None

    @property
    def added_at(self) -> float:
        """When it was added, by Redis' clock: seconds since the epoch."""
        return int(self.id.partition("-")[0]) / 1000


class ConsumerGroup:
    """Reads a stream as one consumer of a group, and acknowledges.

    The consumer is named after its host and process, so that `XINFO CONSUMERS` says who has what;
    and no two are named alike, as a container's first processes would be: what a dead one has left
    is claimed, and not taken for this one's own. Every method raises `BrokerUnavailable`, or
    `StreamUnavailable` if it is about this stream alone.
    """

    def __init__(self, stream: str, group: str) -> None:
        self.stream = stream
        self.group = group
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def create(self, *, from_now: bool = False) -> None:
        """Create the group, and the stream, unless they are there: from the beginning, or now."""
        with _broker_errors():
            try:
                self._redis.xgroup_create(
                    self.stream, self.group, id="$" if from_now else "0", mkstream=True
                )
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def read(self, count: int, block: float) -> list[Entry]:
        """New entries, at most `count`; waits for at most `block` seconds if there are none."""
        # A read must end well before the client takes the silence for a dead connection.
        block = min(block, conf.REDIS_TIMEOUT / 2)
        with _broker_errors():
            try:
                return self._read(">", count, block)
            except ResponseError as error:
                # The second is what Redis 6 says to who was waiting. A server that becomes a
                # replica says UNBLOCKED too, for another reason: there, nothing is lost.
                if "NOGROUP" not in str(error) and "key no longer exists" not in str(error):
                    raise
        # Redis has lost its data. The inbox knows what has been handled, so: all of what is there.
        logger.warning(
            "%s is gone from %s, and events may be: Redis has lost data, or somebody has deleted "
            "it. Begins anew; `manage.py outbox_replay` publishes again what is missing.",
            self.group,
            self.stream,
            extra={"action": "group_lost", "subscriber": self.group, "stream": self.stream},
        )
        signals.group_lost.send_robust(self.group, stream=self.stream)
        self.create()
        return []

    def unacknowledged(self, count: int) -> list[Entry]:
        """What this consumer has read before and not acknowledged, the oldest first."""
        with _broker_errors():
            return self._read("0", count, 0)

    def in_hand(self, count: int) -> Iterator[list[Entry]]:
        """What all consumers of the group have read and not acknowledged, in batches.

        Takes nothing over; what has been trimmed is left out.
        """
        start = "-"
        while True:
            with _broker_errors():
                found = self._redis.xpending_range(self.stream, self.group, start, "+", count)
                if not found:
                    return
                pipeline = self._redis.pipeline(transaction=False)
                for one in found:
                    pipeline.xrange(self.stream, one["message_id"], one["message_id"])
                entries = [_entry(*those[0]) for those in pipeline.execute() if those]
            yield entries
            start = f"({found[-1]['message_id'].decode()}"

    def claim(self, idle: float, count: int) -> Iterator[list[Entry]]:
        """Take over what any consumer has left unacknowledged for `idle` seconds, in batches."""
        start = "0-0"
        while True:
            with _broker_errors():
                # Redis 6.2 answers with two elements, 7 with three.
                answer: Any = self._redis.xautoclaim(
                    self.stream,
                    self.group,
                    self.consumer,
                    min_idle_time=round(idle * 1000),
                    start_id=start,
                    count=count,
                )
            start = answer[0].decode()
            found = [_entry(*one) for one in answer[1] if one and one[0] is not None]
            # Trimmed ones: named by Redis 7; by Redis 6 when they are read as unacknowledged.
            found += [_entry(one, None) for one in answer[2:] and answer[2]]
            if found:
                yield found
            if start == "0-0":
                return

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Tell Redis that these needn't be delivered again."""
        if entries:
            with _broker_errors():
                self._redis.xack(self.stream, self.group, *(entry.id for entry in entries))

    def forget_consumers(self) -> None:
        """Remove the group's consumers that hold nothing: the processes that were there before.

        Long before: one that comes back from a pause may be given entries at this very moment, and
        removing it would lose them.
        """
        with _broker_errors():
            for one in self._redis.xinfo_consumers(self.stream, self.group):
                if one["pending"] == 0 and one["idle"] > FORGOTTEN_AFTER * 1000:
                    self._redis.xgroup_delconsumer(self.stream, self.group, one["name"])

    def _read(self, start: str, count: int, block: float) -> list[Entry]:
        answer: Any = self._redis.xreadgroup(
            self.group,
            self.consumer,
            {self.stream: start},
            count=count,
            block=round(block * 1000) or None,
        )
        if not answer:
            return []
        # RESP3 answers with a mapping, RESP2 with pairs.
        entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
        return [_entry(*one) for one in entries]

    @property
    def _redis(self) -> Any:
        return connections.redis_client()


def _entry(entry_id: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    if not fields:
        return Entry(entry_id.decode(), None)
    if FIELD in fields:
        return Entry(entry_id.decode(), _decoded(fields[FIELD]))
    strange = {_decoded(key): _decoded(value) for key, value in fields.items()}
    return Entry(entry_id.decode(), json.dumps(strange, ensure_ascii=False))


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        # What isn't UTF-8 is left to be seen; it isn't JSON then either. Of much, the beginning:
        # it takes longer than a lease.
        return value[:LONGEST_STRANGE].decode(errors="backslashreplace")


@contextmanager
def _broker_errors() -> Iterator[None]:
    """Tell Redis' own state from that of this stream; no event is to blame for either."""
    with connections.broker_errors(refused="Redis can't serve consumers now"):
        try:
            yield
        except ResponseError as error:
            if redis_errors.is_the_brokers_fault(error):
                raise
            raise StreamUnavailable(f"Redis won't serve this stream: {error}") from error
