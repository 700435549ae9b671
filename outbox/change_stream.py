"""The change stream: MongoDB tells of each commit with messages, a millisecond or two after it.

Only a replica set has one. It is no more than a wake: what it misses, a sweep finds.
"""

from collections.abc import Iterator, Sequence
from threading import Event

from pymongo.errors import OperationFailure

from outbox import connections
from outbox.connections import Document
from outbox.document import saving
from outbox.errors import OutboxError

#: Seconds that the server waits for something to tell before it says that there is nothing.
AWAIT = 0.5

#: What a server answers that is not part of a replica set.
ONLY_REPLICA_SETS = 40573


class NoChangeStream(OutboxError):
    """This MongoDB has no change streams: they take a replica set, if only of one."""


def commits(collections: Sequence[str], stopped: Event) -> Iterator[tuple[str, int] | None]:
    """The collection and partition of each commit that brings messages; None once in a while.

    The first is None, and comes when the stream is open: whatever is committed from then on is told
    of. It is resumed after a failover. Raises `NoChangeStream`, and what pymongo raises when it
    can't be resumed (`ChangeStreamHistoryLost`, a set without a primary).
    """
    database = connections.database()
    try:
        stream = database.watch(
            _pipeline(collections), max_await_time_ms=round(AWAIT * 1000), batch_size=1000
        )
    except NotImplementedError:
        raise NoChangeStream("The in-process store has no change streams.") from None
    except OperationFailure as error:
        if error.code == ONLY_REPLICA_SETS:
            raise NoChangeStream from error
        raise
    with stream:
        yield None
        while not stopped.is_set() and stream.alive:
            change = stream.try_next()
            yield _place(change) if change else None


def _pipeline(collections: Sequence[str]) -> list[Document]:
    # A save sets the version; what the relays do to a document doesn't.
    saves = {"updateDescription.updatedFields.version": {"$exists": True}}
    mine = {"operationType": "update", "ns.coll": {"$in": list(collections)}, **saves}
    new = {"operationType": "insert", "ns.coll": {"$in": list(collections)}}
    return [{"$match": {"$or": [new, mine]}}, {"$project": {"ns.coll": 1, "documentKey._id": 1}}]


def _place(change: Document) -> tuple[str, int]:
    # A document keeps the partition that it was given when it was new. If OUTBOX_PARTITIONS was
    # changed since, this may be another one, and the next sweep finds what is in it.
    return change["ns"]["coll"], saving.partition_of(str(change["documentKey"]["_id"]))
