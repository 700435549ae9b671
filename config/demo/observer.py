"""The observer: sees what the documents hold back and what has come onto the streams."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from config.demo.history import History, compare, delay

SEEN = {"outbox.sequences": 1, "outbox.pending.event_id": 1}


@dataclass
class Progress:
    """How far an order's events have come."""

    pending: int = 0
    dispatched: int = 0
    #: From commit to stream, in milliseconds, each event's first time.
    delays: list[float] = field(default_factory=list)


class Observer:
    """Reads MongoDB and Redis for itself, without the outbox's code, and only what comes from now.

    Of the streams it takes note of nothing but the orders that it is asked about, so that it can
    be used on servers that others use too.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        uri = environment["OUTBOX_MONGODB_URI"]
        client: MongoClient[dict[str, Any]] = MongoClient(uri, timeoutMS=5000)
        self._orders = client[environment["OUTBOX_MONGODB_DATABASE"]]["orders"]
        # Typed for bytes and text alike, which no one who reads an answer can use.
        self._redis: Any = Redis.from_url(environment["OUTBOX_REDIS_URL"], decode_responses=True)
        self._since = self._redis_now()
        self._positions: dict[str, str] = {}
        self._entries: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self._event_ids: set[str] = set()
        self.progress: dict[str, Progress] = defaultdict(Progress)

    @property
    def pending(self) -> int:
        return sum(progress.pending for progress in self.progress.values())

    @property
    def dispatched(self) -> int:
        return sum(progress.dispatched for progress in self.progress.values())

    def look(self, order_ids: Collection[str]) -> None:
        """Bring `progress` up to date, as far as the servers answer just now."""
        with suppress(PyMongoError, RedisError):
            self._look(order_ids)

    def _look(self, order_ids: Collection[str]) -> None:
        for document in self._documents(order_ids):
            self.progress[document["_id"]].pending = len(document["outbox"]["pending"])
            for topic in document["outbox"]["sequences"]:
                self._positions.setdefault(topic, self._since)
        for topic in self._positions:
            self._read(topic)

    def history(self, order_ids: Collection[str]) -> History:
        """The documents of these orders held against everything on the streams about them."""
        self._look(order_ids)
        ids = set(order_ids)
        ours = {
            topic: [entry for entry in entries if entry[1]["aggregateId"] in ids]
            for topic, entries in self._entries.items()
        }
        return compare(self._documents(order_ids), ours)

    def _documents(self, order_ids: Collection[str]) -> list[dict[str, Any]]:
        return list(self._orders.find({"_id": {"$in": list(order_ids)}}, SEEN))

    def _read(self, topic: str) -> None:
        while entries := self._redis.xrange(topic, f"({self._positions[topic]}", count=1000):
            for entry_id, fields in entries:
                event = json.loads(fields["event"])
                self._entries[topic].append((entry_id, event))
                if event["eventId"] not in self._event_ids:
                    self._event_ids.add(event["eventId"])
                    progress = self.progress[event["aggregateId"]]
                    progress.dispatched += 1
                    progress.delays.append(delay(entry_id, event))
            self._positions[topic] = entries[-1][0]

    def _redis_now(self) -> str:
        seconds, microseconds = self._redis.time()
        return f"{seconds * 1000 + microseconds // 1000}"
