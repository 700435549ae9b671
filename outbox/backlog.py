"""The backlog: how much waits in the documents, counted as far as that costs little."""

from datetime import datetime
from typing import Any, NamedTuple

from outbox import connections, document, pending
from outbox.conf import conf
from outbox.connections import Document
from outbox.document import listing, relaying

#: Documents of a collection whose messages are counted; and that are counted at all.
COUNTED, LOOKED_AT = 5_000, 200_000


class Backlog(NamedTuple):
    """Messages that wait, whether all were counted, the time of the oldest.

    And in how many documents one has been `refused`, and waits for its next try; in how many of
    these one is `stuck`.
    Where more than `COUNTED` documents of a collection wait, the number is estimated from these;
    where more than `LOOKED_AT` do, it is that of so many.
    """

    messages: int
    is_exact: bool
    oldest: datetime | None
    refused: int
    stuck: int


def of(collections: list[str]) -> Backlog:
    """The backlog of some collections. Raises what pymongo raises."""
    found = [_of(name) for name in collections]
    times = [one.oldest for one in found if one.oldest is not None]
    return Backlog(
        sum(one.messages for one in found),
        all(one.is_exact for one in found),
        min(times, default=None),
        sum(one.refused for one in found),
        sum(one.stuck for one in found),
    )


def _of(collection: str) -> Backlog:
    documents = connections.collection(collection)
    waiting = _sum(
        collection,
        [
            {"$match": listing.waiting(pending.partitions(collection))},
            {"$sort": {"outbox.pending.due_at": 1}},
        ],
        document.DUE_INDEX,
    )
    messages, is_exact = waiting["messages"], waiting["documents"] < COUNTED
    times = [waiting["oldest"]]
    if not is_exact:
        # Those that failed are due later than others, and may be older.
        failed = [{"$match": relaying.failed(1)}]
        times.append(_sum(collection, failed, document.FAILED_INDEX)["oldest"])
        all_of_them = documents.count_documents(
            listing.WAITING, hint=document.DUE_INDEX, limit=LOOKED_AT
        )
        messages = round(messages * all_of_them / waiting["documents"])
    refused, stuck = (
        documents.count_documents(
            relaying.failed(attempts), hint=document.FAILED_INDEX, limit=LOOKED_AT
        )
        for attempts in (1, conf.STUCK_AFTER)
    )
    known = [one for one in times if one is not None]
    return Backlog(messages, is_exact, min(known, default=None), refused, stuck)


def _sum(collection: str, found: list[Document], hint: str) -> Document:
    """How many messages the documents have that these stages find, and the oldest one's time."""
    stages: list[Any] = [
        *found,
        {"$limit": COUNTED},
        {
            "$project": {
                "messages": {"$size": "$outbox.pending"},
                "oldest": {"$min": "$outbox.pending.occurred_at"},
            }
        },
        {
            "$group": {
                "_id": None,
                "documents": {"$sum": 1},
                "messages": {"$sum": "$messages"},
                "oldest": {"$min": "$oldest"},
            }
        },
    ]
    rows = list(connections.collection(collection).aggregate(stages, hint=hint))
    return rows[0] if rows else {"documents": 0, "messages": 0, "oldest": None}
