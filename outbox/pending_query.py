"""Reading pending messages out of documents: the queries that `pending` is made of.

A row has the fields that are asked for and, of its document, the `aggregate_id`, `collection` and
the `oldest` due time, which it is ordered by. All functions raise what pymongo raises.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any

from outbox import connections, document, message_store
from outbox.conf import conf
from outbox.discovery import collections
from outbox.document import Document, listing, relaying
from outbox.message_store import Selection, between


def partitions(collection: str) -> list[int]:
    """The partitions a document may be in, those of an earlier `OUTBOX_PARTITIONS` included."""
    numbers = list(range(conf.PARTITIONS))
    while True:
        where = listing.waiting_elsewhere(numbers)
        found = connections.database()[collection].find(where, relaying.PARTITION, limit=1)
        stray = next(found.hint(document.DUE_INDEX), None)
        if stray is None:
            return numbers
        numbers.append(relaying.partition(stray))


def found(
    selection: Selection,
    wanted: int | None,
    *,
    fields: Iterable[str],
    since: datetime | None = None,
    bounded: bool = False,
) -> tuple[list[Document], bool]:
    """The first `wanted` that are selected; and if others were out of reach, in a `bounded` look.

    One request, of all collections, for what is in one aggregate, and one for each collection to
    find anything else.
    """
    least = {"stuck": conf.STUCK_AFTER, "failed": 1}.get(selection.state or "", 0)
    matches = listing.pending_matches(
        topic=selection.topic,
        type=selection.type,
        least=least,
        untried=selection.state == "untried",
        occurred=between(selection.since, selection.until),
    )
    aggregate_id = selection.aggregate_id
    if term := selection.term if selection.term != aggregate_id else "":
        by_term = listing.pending_matches(term=term)
        if aggregate_id is None:
            here = in_one(term, matches, wanted, fields, collections(), since)
            if here:
                return here, False
        matches |= by_term
    if aggregate_id is not None:
        return in_one(aggregate_id, matches, wanted, fields, collections(), since), False
    return in_queues(matches, wanted, fields=fields, least=least, since=since, bounded=bounded)


def in_one(
    aggregate_id: str,
    matches: Document,
    wanted: int | None,
    fields: Iterable[str],
    names: Iterable[str],
    since: datetime | None = None,
) -> list[Document]:
    """What waits in the documents of this id, one in each collection at most: one request."""
    places = {name: [aggregate_id] for name in names}
    return list(islice(in_documents(places, matches, fields, since), wanted))


def in_documents(
    places: Mapping[str, list[str]],
    matches: Document,
    fields: Iterable[str],
    since: datetime | None = None,
) -> list[Document]:
    """What waits in the documents of these ids, by collection: one request."""
    pipelines = {
        name: [
            *listing.pending_pipeline(
                listing.waiting_in(*ids), matches, fields=fields, since=since
            ),
            _named(name),
        ]
        for name, ids in places.items()
    }
    if connections.is_in_process():  # mongomock knows no $unionWith
        return [
            row
            for name, stages in pipelines.items()
            for row in message_store.rows(name, stages, "_id_")
        ]
    for first, stages in pipelines.items():
        # Each of the others has the index of _id without being told.
        union = [
            {"$unionWith": {"coll": name, "pipeline": pipeline}}
            for name, pipeline in pipelines.items()
            if name != first
        ]
        return message_store.rows(first, [*stages, *union], "_id_")
    return []


def in_queues(matches: Document, wanted: int | None, **options: Any) -> tuple[list[Document], bool]:
    """What waits in any document of any collection."""
    several, is_cut = [], False
    for name in collections():
        rows, cut = _in_queue(name, matches, wanted, **options)
        several += rows
        is_cut |= cut
    # A stable sort: messages of one aggregate keep their order.
    return sorted(several, key=itemgetter("oldest"))[:wanted], is_cut


def _in_queue(
    collection: str,
    matches: Document,
    wanted: int | None,
    *,
    fields: Iterable[str],
    bounded: bool = False,
    least: int = 0,
    since: datetime | None = None,
) -> tuple[list[Document], bool]:
    """What waits in any document: one request, unless some lie in partitions of another setting."""
    numbers = list(range(conf.PARTITIONS))
    while True:
        where, hint = listing.waiting(numbers), document.DUE_INDEX
        if least:
            # In no order; but one of each document at most, since those behind it weren't tried.
            where, hint = relaying.failed(least), document.FAILED_INDEX
        reach = message_store.REACH if bounded else None
        if reach and wanted and not matches and since is None:
            # Each has at least one message, so that more aren't needed to fill a page.
            reach = min(reach, wanted)
        stages = listing.pending_pipeline(
            where, matches, fields=fields, ordered=not least, reach=reach, since=since
        )
        if least:
            stages.append({"$sort": {"oldest": 1}})
        if wanted:
            stages.append({"$limit": wanted})
        looks = {}
        if not least:
            looks["stray"] = listing.waiting_elsewhere(numbers), 0
        if bounded and (matches or since or (wanted or 0) > message_store.REACH):
            looks["beyond"] = where, message_store.REACH
        found, seen = _with_looks(collection, stages, hint, looks)
        if "stray" not in seen:
            return found, "beyond" in seen
        numbers.append(seen["stray"])


def _with_looks(
    collection: str, stages: list[Document], hint: str, looks: dict[str, tuple[Document, int]]
) -> tuple[list[Document], dict[str, Any]]:
    """Rows, and which of `looks`, each a filter and how many to pass over, find a document.

    In one request, as far as the store can. A look needs no hint: the rows have shown that their
    index is there.
    """
    if not connections.is_in_process():
        union = []
        for name, (where, skip) in looks.items():
            passing = [{"$skip": skip}] if skip else []
            shown = {"_id": 0, "look": {"$literal": name}, "partition": "$outbox.partition"}
            pipeline = [{"$match": where}, *passing, {"$limit": 1}, {"$project": shown}]
            union.append({"$unionWith": {"coll": collection, "pipeline": pipeline}})
        rows = message_store.rows(collection, [*stages, _named(collection), *union], hint)
        seen = {row["look"]: row.get("partition") for row in rows if "look" in row}
        return [row for row in rows if "look" not in row], seen
    seen = {}
    for name, (where, skip) in looks.items():
        documents = connections.collection(collection)
        for stored in documents.find(where, relaying.PARTITION, skip=skip, limit=1):
            seen[name] = relaying.partition(stored)
    return message_store.rows(collection, [*stages, _named(collection)], hint), seen


def _named(collection: str) -> Document:
    return {"$addFields": {"collection": {"$literal": collection}}}
