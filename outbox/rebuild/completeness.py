"""Completeness: whether a new read model has all that its subscriber has handled."""

from collections.abc import Iterator

from outbox import connections, inbox, swap
from outbox.connections import Document
from outbox.errors import RebuildRefused
from outbox.rebuild.history import History
from outbox.rebuild.model import Gaps, Model
from outbox.subscriber import Subscriber

#: Of the aggregates that lack events, so many are named.
MOST_NAMED = 5


def complete(subscriber: Subscriber, model: Model, history: History) -> list[str]:
    """The aggregates whose cursors are to be moved. Raises `RebuildRefused` if events are missing.

    None may be waiting for its predecessor, and no cursor may be further on than the model is.
    """
    moved, behind = _compare(subscriber, model)
    if behind or model.early:
        for some in swap.chunks([*behind, *model.early]):
            model.take(history.of(some))
        gaps = _gaps(subscriber)
        for aggregate_id in list(model.early):
            model.go_past(aggregate_id, gaps.get(aggregate_id, ()))
        moved, behind = _compare(subscriber, model)
    if not (behind or model.early):
        return moved
    lacking = sorted(behind.keys() | model.early.keys())
    said = []
    for one in lacking[:MOST_NAMED]:
        there = min(model.early[one]) if one in model.early else behind[one]
        begins = f"number {model.last.get(one, 0) + 1}"
        known = "is there" if one in model.early else "has been handled"
        said.append(f"{one} lacks {begins} (number {there} {known})")
    if len(lacking) > MOST_NAMED:
        said.append("…")
    raise RebuildRefused(
        f"Events of {len(lacking)} aggregates are missing: {'; '.join(said)}. They have expired "
        f"from the archive (OUTBOX_RETENTION) and been trimmed from the stream, or haven't come "
        "yet. Nothing was changed."
    )


def _compare(subscriber: Subscriber, model: Model) -> tuple[list[str], dict[str, int]]:
    """Aggregates whose cursor the model moves, and the cursors that it doesn't come up to."""
    moved, behind = dict.fromkeys(model.last), dict[str, int]()
    for aggregate_id, cursor in _cursors(subscriber):
        known = model.last.get(aggregate_id, 0)
        if cursor["sequence"] > known:
            behind[aggregate_id] = cursor["sequence"]
        elif known and cursor == {"_id": cursor["_id"], **model.cursor(aggregate_id)}:
            del moved[aggregate_id]
    return list(moved), behind


def _gaps(subscriber: Subscriber) -> dict[str, Gaps]:
    """The gaps that the subscriber's consumers have gone past."""
    return {one: cursor["passed"] for one, cursor in _cursors(subscriber, passed=True)}


def _cursors(subscriber: Subscriber, *, passed: bool = False) -> Iterator[tuple[str, Document]]:
    prefix = f"{subscriber.name}:{subscriber.topic}:"
    where: Document = {"_id": {"$gte": prefix, "$lt": prefix[:-1] + ";"}}  # after ":" comes ";"
    if passed:
        where["passed"] = {"$exists": True}
    for cursor in connections.collection(inbox.CURSORS).find(where):
        yield cursor["_id"][len(prefix) :], cursor
