"""Tailing a topic: its entries as they come, off all of its streams, as one of no group.

Nothing is acknowledged and nobody's position moves: whoever consumes the topic doesn't notice.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from outbox import connections, delivery, streams
from outbox.conf import conf
from outbox.consumer_group import FIELD
from outbox.delivery import Delivery
from outbox.errors import UnreadableEvent

#: Seconds that a read waits at most: how long it takes to see that nobody looks any more.
BLOCK = 1.0
#: Entries of a stream that are read at a time.
PAGE = 100

BEGINNING = "0-0"


class Tailed(NamedTuple):
    """An entry of a stream, and the envelope in it; `event` is None if it is none, for `flaw`."""

    stream: str
    id: str
    text: str
    event: Delivery | None
    flaw: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """In the order of time, over all streams."""
        milliseconds, _, number = self.id.partition("-")
        return int(milliseconds), int(number)


class Tail:
    """The streams of a topic, and how far each has been read.

    Everything raises `BrokerUnavailable`, and may be called again after it: nothing is left out.
    """

    def __init__(self, topic: str, wanted: Callable[[Tailed], bool] = lambda one: True) -> None:
        self._topic = topic
        self._wanted = wanted
        self._positions: dict[str, str] = {}

    def begin(self, last: int | None = 0) -> list[Tailed]:
        """Take the streams' ends for where to go on; the `last` entries before, as many as wanted.

        None begins with the beginning, and returns nothing.
        """
        with connections.broker_errors():
            names = [*streams.streams_of(self._topic), *streams.left_over(self._topic)]
            positions, found = dict.fromkeys(names, BEGINNING), list[Tailed]()
            for name in names if last is not None else ():
                for newest in self._backwards(name):
                    # Before what comes later is read: nothing between the two is missed.
                    positions[name] = newest.id
                    break
                older = self._backwards(name, positions[name])
                found += islice(filter(self._wanted, older), last)
        self._positions = positions
        return sorted(found, key=lambda one: one.place)[-last:] if last else []

    def entries(self) -> Iterator[Tailed | None]:
        """What is wanted of what comes, in order; None whenever there is nothing more just now."""
        while True:
            # A read must end well before the client takes the silence for a dead connection.
            block = round(min(BLOCK, conf.REDIS_TIMEOUT / 2) * 1000)
            with connections.broker_errors():
                answer: Any = self._redis.xread(dict(self._positions), count=PAGE, block=block)
            # RESP3 answers with a mapping, RESP2 with pairs.
            pairs = [(k, v[0]) for k, v in answer.items()] if isinstance(answer, dict) else answer
            read = [[self._tailed(name, *one) for one in some] for name, some in pairs or ()]
            # A stream with more to come may have something older than what others have given.
            ends = [some[-1].place for some in read if len(some) == PAGE]
            found = sorted((one for some in read for one in some), key=lambda one: one.place)
            for one in found:
                if ends and one.place > min(ends):
                    break
                self._positions[one.stream] = one.id
                if self._wanted(one):
                    yield one
            if not ends:
                yield None

    def _backwards(self, stream: str, newest: str = "+") -> Iterator[Tailed]:
        """The entries of a stream from the newest on; `newest` is an id that counts itself."""
        while some := self._redis.xrevrange(stream, newest, "-", count=PAGE):
            for one in some:
                yield self._tailed(stream.encode(), *one)
            newest = f"({some[-1][0].decode()}"

    def _tailed(self, stream: bytes, entry_id: bytes, fields: dict[bytes, bytes]) -> Tailed:
        name, place = stream.decode(), entry_id.decode()
        text = fields.get(FIELD, b"").decode(errors="backslashreplace")
        if FIELD not in fields:
            return Tailed(name, place, text, None, f"It has no field {FIELD.decode()}.")
        try:
            return Tailed(name, place, text, delivery.read(text, self._topic))
        except UnreadableEvent as error:
            return Tailed(name, place, text, None, str(error))

    @property
    def _redis(self) -> Any:
        return connections.redis_client()
