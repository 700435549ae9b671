"""The change stream: MongoDB tells of each commit with messages, a millisecond or two after it.

Only a replica set has one. What it misses, a sweep finds.
"""

from collections.abc import Iterator, Sequence
from threading import Event
from typing import NamedTuple

from pymongo.errors import OperationFailure

from outbox import connections
from outbox.connections import Document
from outbox.document import relaying, saving
from outbox.errors import NoChangeStream

#: Seconds that the server waits for something to tell before it says that there is nothing.
AWAIT = 0.5

#: What a server answers that is not part of a replica set.
ONLY_REPLICA_SETS = 40573


class Commit(NamedTuple):
    """A commit that may have brought messages; a majority of the set has it.

    `document` holds all that waited in it then; it is None if that has to be looked up.
    """

    collection: str
    partition: int
    document: Document | None


def commits(collections: Sequence[str], stopped: Event) -> Iterator[Commit | None]:
    """The commits to these collections from now on; None once in a while.

    The first is None, and comes when the stream is open. It is resumed after a failover. Raises
    `NoChangeStream`, and what pymongo raises when it can't be resumed (`ChangeStreamHistoryLost`,
    a set without a primary).
    """
    pipeline: list[Document] = [
        {"$match": {"ns.coll": {"$in": list(collections)}, **relaying.COMMITS}},
        {"$project": relaying.COMMITTED},
    ]
    if connections.is_in_process():
        raise NoChangeStream("The in-process store has no change streams.")
    try:
        stream = connections.database().watch(
            pipeline,
            # For the partition, which an update doesn't tell of.
            full_document="updateLookup",
            max_await_time_ms=round(AWAIT * 1000),
        )
    except OperationFailure as error:
        if error.code == ONLY_REPLICA_SETS:
            raise NoChangeStream from error
        raise
    with stream:
        yield None
        while not stopped.is_set() and stream.alive:
            change = stream.try_next()
            yield _commit(dict(change)) if change else None


def _commit(change: Document) -> Commit:
    partition = relaying.committed_in(change)
    if partition is None:
        # It was deleted since, or is none of ours. Nothing is published on the strength of this: if
        # it is another one, a sweep finds what is in it.
        partition = saving.partition_of(str(change["documentKey"]["_id"]))
    return Commit(change["ns"]["coll"], partition, relaying.committed(change))
