"""The observer: sees what documents hold back, what is on the streams and what came of it."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from config.demo import circle
from config.demo.circle import Circle, letters_in
from config.demo.history import History, compare, delay

Document = dict[str, Any]

#: Of a document, all but what the outbox has beside these two.
UNSEEN = {"outbox.handled": 0, "outbox.answers": 0, "outbox.pending.payload": 0}


@dataclass
class Progress:
    """How far an order and its events have come."""

    status: str = ""
    awaits_stock: bool = False
    out_of_stock: bool = False
    pending: int = 0
    dispatched: int = 0
    #: From commit to stream, in milliseconds, each event's first time.
    delays: list[float] = field(default_factory=list)


class Observer:
    """Reads MongoDB and Redis for itself, without the outbox's code, and only what comes from now.

    Of the streams it takes note of nothing but the orders that it is asked about, so that it can
    be used on servers that others use too. `units` says how many there are of the skus that only
    those orders have; `letters` is the log that they are written to.
    """

    def __init__(
        self, environment: Mapping[str, str], units: Mapping[str, int], letters: Path
    ) -> None:
        uri = environment["OUTBOX_MONGODB_URI"]
        client: MongoClient[Document] = MongoClient(uri, timeoutMS=5000)
        self._database = client[environment["OUTBOX_MONGODB_DATABASE"]]
        self._units, self._letters = units, letters
        # Typed for bytes and text alike, which no one who reads an answer can use.
        self._redis: Any = Redis.from_url(environment["OUTBOX_REDIS_URL"], decode_responses=True)
        self._since = self._redis_now()
        self._positions: dict[str, str] = {}
        self._entries: dict[str, list[tuple[str, Document]]] = defaultdict(list)
        self._event_ids: set[str] = set()
        self.progress: dict[str, Progress] = defaultdict(Progress)
        self.circle = Circle()
        self._ours: set[str] = set()

    @property
    def pending(self) -> int:
        return sum(self.progress[one].pending for one in self._ours)

    @property
    def dispatched(self) -> int:
        return sum(self.progress[one].dispatched for one in self._ours)

    def look(self, order_ids: Collection[str]) -> None:
        """Bring `progress` and `circle` up to date, as far as the servers answer just now."""
        with suppress(PyMongoError, RedisError):
            self._look(order_ids)

    def history(self, order_ids: Collection[str]) -> History:
        """The documents held against everything on the streams about them."""
        documents = self._look(order_ids)
        ids = {document["_id"] for document in documents}
        ours = {
            topic: [entry for entry in entries if entry[1]["aggregateId"] in ids]
            for topic, entries in self._entries.items()
        }
        return compare(documents, ours)

    def _look(self, order_ids: Collection[str]) -> list[Document]:
        ids = list(order_ids)
        # First what follows from the orders: if it is theirs of a moment later, nothing is to come.
        rows = self._find("customer_orders", ids)
        letters = letters_in(self._letters.read_text(errors="replace"))
        stock = self._find("stock", list(self._units))
        orders = self._find("orders", ids)
        dead = {"aggregate_id": {"$in": [*ids, *self._units]}}
        self.circle = circle.compare(
            orders,
            rows=rows,
            stock=stock,
            units=self._units,
            letters=letters,
            dead_letters=self._database["outbox_dead_letters"].count_documents(dead),
        )
        for order in orders:
            progress = self.progress[order["_id"]]
            progress.status = order["status"]
            progress.awaits_stock = bool(order.get("awaiting"))
            progress.out_of_stock = circle.is_out_of_stock(order)
        documents = [*orders, *stock]
        self._ours = {document["_id"] for document in documents}
        for document in documents:
            self.progress[document["_id"]].pending = len(document["outbox"]["pending"])
            for topic in document["outbox"]["sequences"]:
                self._positions.setdefault(topic, self._since)
        for topic in self._positions:
            self._read(topic)
        return documents

    def _find(self, collection: str, ids: list[str]) -> list[Document]:
        return list(self._database[collection].find({"_id": {"$in": ids}}, UNSEEN))

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
