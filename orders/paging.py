"""Paging: one page of a collection, newest first, and the cursor of the page after it."""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from outbox import OutboxError, connections

PAGE = 50
#: Newest first; the id settles the order of those placed in one millisecond.
NEWEST = [("placed_at", -1), ("_id", -1)]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Milliseconds since the epoch, until the year 5138, and an order's id.
CURSOR = re.compile(r"(\d{1,14}) (.+)", re.ASCII | re.DOTALL)

Documents = list[dict[str, Any]]


class InvalidCursor(OutboxError):
    """This is not a cursor that a list has given out."""


def page(
    collection: str, wanted: Mapping[str, Any], cursor: str | None
) -> tuple[Documents, str | None]:
    """A page of the `wanted` documents without their outbox, and the cursor of the page after it.

    Documents stored meanwhile neither repeat nor hide others. Raises `InvalidCursor`,
    `StoreUnavailable`.
    """
    wanted = dict(wanted)
    if cursor is not None:
        placed_at, order_id = _position(cursor)
        # The first condition bounds the scan of the index, the second drops what was shown.
        wanted["placed_at"] = {"$lte": placed_at}
        wanted["$or"] = [{"placed_at": {"$lt": placed_at}}, {"_id": {"$lt": order_id}}]
    with connections.store_errors():
        documents = connections.database()[collection]
        found = list(documents.find(wanted, {"outbox": 0}).sort(NEWEST).limit(PAGE + 1))
    shown = found[:PAGE]
    return shown, _cursor(shown[-1]) if len(found) > PAGE else None


def _cursor(last: Mapping[str, Any]) -> str:
    text = f"{(last['placed_at'] - EPOCH) // timedelta(milliseconds=1)} {last['_id']}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        text = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidCursor() from None
    found = CURSOR.fullmatch(text)
    if found is None:
        raise InvalidCursor()
    return EPOCH + timedelta(milliseconds=int(found[1])), found[2]
