"""The history of a topic: all that was published to it and is still known.

Two places know it: the archive, for as long as `OUTBOX_RETENTION` says, and the streams, until they
are trimmed. Most events are in both, and come twice.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from outbox import connections, delivery, dispatched, streams
from outbox.connections import Document
from outbox.consumer_group import FIELD
from outbox.delivery import Delivery
from outbox.envelope import Envelope, to_json
from outbox.errors import UnreadableEvent

#: Events that are read at a time.
PAGE = 1000


class History:
    """Reads a topic's events, each at least once, nearly in order.

    Remembers how far it has read the streams. Every method raises `StoreUnavailable`,
    `MissingIndex` and `BrokerUnavailable`.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._read_to: dict[str, str] = {}

    def streams(self) -> list[str]:
        """The topic's streams, those of an earlier `OUTBOX_TOPICS` included."""
        return [*streams.streams_of(self.topic), *streams.left_over(self.topic)]

    def everything(self) -> Iterator[Delivery]:
        """All there is now, in archive and streams, roughly as it happened.

        Event ids are ordered by time; so one that the archive lacks comes from the stream when its
        turn is, and the other way round.
        """
        read = [self._archived(), *(self._added_to(stream) for stream in self.streams())]
        return heapq.merge(*read, key=lambda event: event.event_id)

    def added(self) -> Iterator[Delivery]:
        """What has been added to the streams since they were read last, and up to now."""
        for stream in self.streams():
            yield from self._added_to(stream)

    def of(self, aggregate_ids: Iterable[str]) -> Iterator[Delivery]:
        """What the archive has of some aggregates by now: it may have been trimmed from a stream
        that wasn't read yet, and archived where the archive had been read before."""
        where = {"aggregate_id": {"$in": list(aggregate_ids)}, "topic": self.topic}
        yield from map(self._delivery, self._find(where, "outbox_aggregate"))

    def _archived(self) -> Iterator[Delivery]:
        last = ""
        while True:
            where = {"topic": self.topic, "_id": {"$gt": last}}
            found = self._find(where, "outbox_topic", limit=PAGE)
            yield from map(self._delivery, found)
            if len(found) < PAGE:
                return
            last = found[-1]["_id"]

    def _find(self, where: Document, hint: str, limit: int = 0) -> list[Document]:
        with connections.store_errors():
            archive = connections.collection(dispatched.COLLECTION)
            return list(archive.find(where, sort=[("_id", 1)], limit=limit, hint=hint))

    def _delivery(self, entry: Document) -> Delivery:
        known = {name: entry[name] for name in Envelope._fields if name != "event_id"}
        return delivery.read(to_json(Envelope(event_id=entry["_id"], **known)), self.topic)

    def _added_to(self, stream: str) -> Iterator[Delivery]:
        """Up to what is the last entry now: those that are added meanwhile are for another time."""
        last: Any = _ask("xrevrange", stream, count=1)
        while last:
            after = self._read_to.get(stream)
            start = f"({after}" if after else "-"
            page: Any = _ask("xrange", stream, min=start, max=last[0][0], count=PAGE)
            for _, fields in page:
                # What isn't an event has no place in the order; consumers make dead letters of it.
                try:
                    found = delivery.read(fields[FIELD].decode(errors="replace"), self.topic)
                except (KeyError, UnreadableEvent):
                    continue
                yield found
            if page:
                self._read_to[stream] = page[-1][0].decode()
            if len(page) < PAGE:
                return


def _ask(command: str, stream: str, **arguments: Any) -> Any:
    with connections.broker_errors():
        return getattr(connections.redis_client(), command)(stream, **arguments)
