"""Once: an operation that is asked for twice, by a click or a request too many, is done once.

    outbox_operations  {_id: operation id, fingerprint, action, by, reason, at, done?}

Kept for a day. `done` is what came of it.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from outbox import clock, connections
from outbox.connections import Document
from outbox.errors import AlreadyDone, MessageIdReused, StoreUnavailable

COLLECTION = "outbox_operations"

#: Seconds for which an operation is remembered.
REMEMBERED = 24 * 3600

INDEXES = [IndexModel([("at", 1)], name="outbox_operations_at", expireAfterSeconds=REMEMBERED)]


class Done(NamedTuple):
    """What came of an operation.

    `count` messages were acted on, `ids` says which (none, for a replay without a bound); for
    `missed` there was nothing to do: they aren't there any more, or it has been done. `why` says of
    some of these, by their keys, what there is to say. `left`: more are selected than are acted on
    at a time.
    """

    count: int  # type: ignore[assignment]
    missed: int = 0
    left: bool = False
    ids: list[str] = []  # noqa: RUF012 - read, never changed
    why: dict[str, str] = {}  # noqa: RUF012


def once(
    operation_id: str | None,
    act: Callable[[], Done],
    *,
    action: str,
    by: str,
    reason: str = "",
    fingerprint: str | None = None,
) -> Done:
    """Do `act`, unless something has been done under this id before, or is being done right now.

    Raises `AlreadyDone` then, or `MessageIdReused` if that was something else: `fingerprint` is a
    digest of what is asked for. What fails may be tried again under the same id: all operations can
    be repeated. Without an id, nothing is remembered. Raises `StoreUnavailable`.
    """
    if operation_id is None:
        return act()
    with connections.store_errors():
        _begin(operation_id, fingerprint, {"action": action, "by": by, "reason": reason})
    try:
        # Dying here: who asks again is told that it is under way, and has to ask under another id.
        done = act()
    except BaseException:
        with suppress(StoreUnavailable), connections.store_errors():
            _operations().delete_one({"_id": operation_id})
        raise
    # It is done, even if that can't be noted.
    with suppress(StoreUnavailable), connections.store_errors():
        # A list of pairs: a key may have a dot, which no name of a field should.
        noted = {**done._asdict(), "why": list(done.why.items())}
        _operations().update_one({"_id": operation_id}, {"$set": {"done": noted}})
    return done


def _begin(operation_id: str, fingerprint: str | None, fields: Document) -> None:
    new = {**fields, "fingerprint": fingerprint, "at": clock.now(connections.database())}
    try:
        _operations().insert_one({"_id": operation_id, **new})
    except DuplicateKeyError:
        # It may have failed, and be forgotten again, between the two requests: asked in vain.
        before = _operations().find_one({"_id": operation_id}) or new
        if before["fingerprint"] != fingerprint:
            raise MessageIdReused(
                f"{operation_id} has been used before, for a different operation."
            ) from None
        done = before.get("done")
        outcome = Done(**{**done, "why": dict(done["why"])}) if done else None
        raise AlreadyDone(before["action"], before["by"], before["at"], outcome) from None


def _operations() -> Any:
    return connections.collection(COLLECTION)
