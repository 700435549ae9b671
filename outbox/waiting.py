"""Waiting events, read for people to look at: what `deferred` keeps, as a part of the store.

They are what a subscriber has taken off the stream and couldn't handle yet: because it failed on
it, because the process died in the attempt, or because one before it has to come first.

All functions raise `StoreUnavailable` and `MissingIndex`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outbox import connections, message_store
from outbox.connections import Document
from outbox.deferred import COLLECTION
from outbox.message_store import Enveloped, Page, Selection

_SINCE, _TRIED = "outbox_deferred_since", "outbox_deferred_tried"
_SUBSCRIBER, _AGGREGATE = "outbox_deferred_subscriber", "outbox_deferred_aggregate"

#: What a term is compared with.
_BY_TERM = ("aggregate_id", "event_id")

#: Those that have been tried, the longest waiting, that are looked at to say who fails on what.
LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True)
class WaitingEvent(Enveloped):
    """An event that waits for its subscriber to try it, or to try it again.

    Listings leave out `text`. `attempts` have been begun. The last of them failed with
    `last_error`; without, it hasn't come to its end, and the one before it failed with
    `error_before`, or if that is empty, didn't come to its end either. `replays` is the key of the
    dead letter that it was, if it was one.
    """

    key: str
    subscriber: str
    topic: str
    stream: str
    event_id: str = ""
    type: str = ""
    aggregate_id: str
    sequence: int
    text: str = ""
    attempts: int
    last_error: str = ""
    error_before: str = ""
    due_at: datetime
    since: datetime
    early: bool = False
    alerted: bool = False
    replays: str = ""

    @property
    def error(self) -> str:
        """What it failed with when an attempt at it last came to its end; "" if none has."""
        return self.last_error or self.error_before

    @property
    def ended(self) -> int:
        """How many attempts are known to be over."""
        return self.attempts if self.last_error else max(0, self.attempts - 1)

    @property
    def died_in(self) -> int | None:
        """The attempt in which the process died, if that is how the last one ended that is over.

        Of the first one nobody knows: what a dead consumer has left is taken over as tried once,
        whether it was this event that killed it or another that was read with it.
        """
        return self.ended if not self.error and self.ended > 1 else None

    @property
    def fate(self) -> str:
        """How it has fared, in words."""
        several = "s" if self.ended > 1 else ""
        if self.last_error:
            return f"{self.ended} failed attempt{several}"
        if self.error:
            return f"{self.ended} failed attempt{several}, the next hasn't ended"
        if self.died_in:
            return f"the process died in attempt {self.died_in}, the next hasn't ended"
        if self.attempts:
            return f"attempt {self.attempts} hasn't ended: it goes on, or the process died in it"
        if self.alerted:
            return "waits for an event that hasn't come"
        if self.early:
            return "waits for its turn"
        return "to be replayed" if self.replays else "not tried yet"

    @property
    def named(self) -> str:
        """Which event it is, in words."""
        where = f"number {self.sequence} of {self.aggregate_id} in {self.topic}"
        return f"{self.type or 'event'} {self.event_id} ({where})".replace("  ", " ")


#: What a list shows; the rest may be long.
_SHOWN = dict.fromkeys(WaitingEvent.__dataclass_fields__.keys() - {"key", "text"}, 1)


def messages(
    selection: Selection | None = None,
    *,
    skip: int = 0,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[WaitingEvent]:
    """Waiting events, those that have waited the longest first.

    `cursor` is that of a page before. Raises `InvalidCursor` as well.
    """
    chosen = selected(selection or Selection())
    with connections.store_errors():
        return message_store.by_time(
            COLLECTION, chosen, "since", 1, _read, _SHOWN, skip=skip, limit=limit, cursor=cursor
        )


def message(key: str) -> WaitingEvent | None:
    """One waiting event, in full; None if there is none of this key (any more)."""
    with connections.store_errors():
        found = connections.collection(COLLECTION).find_one({"_id": {"$eq": key}})
    return _read(found) if found else None


def of_aggregate(aggregate_id: str, most: int) -> list[WaitingEvent]:
    """What waits of one aggregate, or of several of one id: so many, the longest waiting."""
    return _find({"aggregate_id": {"$eq": aggregate_id}}, _AGGREGATE, most)


def tried() -> list[WaitingEvent]:
    """Those that have been tried: `LOOKED_AT` of them at most, the longest waiting."""
    return _find({"attempts": {"$gte": 1}}, _TRIED, LOOKED_AT)


def selected(selection: Selection) -> tuple[Document, Document, str | None]:
    """The filter that an index serves by time, what is left to filter, and a hint."""
    names = ("topic", "type", "subscriber", "aggregate_id")
    given = {name: getattr(selection, name) for name in names}
    then: Document = {name: {"$eq": one} for name, one in given.items() if one is not None}
    if selection.state is not None:
        then["attempts"] = {"$gte": 1} if selection.state == "tried" else {"$eq": 0}
    times = message_store.between(selection.since, selection.until)
    where: Document = {"since": times} if times else {}
    if term := selection.term:
        # Each by its own index; the server merges what comes off them.
        return {"$or": [{name: {"$eq": term}, **where} for name in _BY_TERM]}, then, None
    if "aggregate_id" in then:
        return {"aggregate_id": then.pop("aggregate_id"), **where}, then, _AGGREGATE
    if selection.state == "tried":
        return {"attempts": then.pop("attempts"), **where}, then, _TRIED
    if "subscriber" in then:
        return {"subscriber": then.pop("subscriber"), **where}, then, _SUBSCRIBER
    return where, then, _SINCE


def _find(where: Document, hint: str, most: int) -> list[WaitingEvent]:
    with connections.store_errors():
        found: Any = connections.collection(COLLECTION).find(where, _SHOWN)
        return [_read(row) for row in found.sort("since", 1).limit(most).hint(hint)]


def _read(row: Document) -> WaitingEvent:
    names = WaitingEvent.__dataclass_fields__
    known = {name: value for name, value in row.items() if name in names}
    return WaitingEvent(key=row["_id"], **known)
