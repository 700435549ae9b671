"""The lease: a time-limited right to do something alone, held in MongoDB.

A relay leases a partition, so that its documents needn't be claimed one by one; a consumer leases a
stream for its subscriber. A holder that dies is waited for no longer than the lease lasts; one that
was paused past it finds out by its own monotonic clock before it goes on.
"""

import os
import socket
import time
from datetime import datetime
from typing import Any

from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from outbox import clock
from outbox.context import new_id

COLLECTION = "outbox_leases"


class Lease:
    """Held by one owner at a time, as far as the server's clock can tell.

    Not a lock: a holder that is stopped between looking and acting may act late. Who holds one has
    to be able to bear that: the relay publishes again what has been published, and a consumer's
    inbox refuses what another has handled.
    """

    def __init__(
        self,
        database: Database[Any],
        name: str,
        seconds: float,
        *,
        write_concern: WriteConcern | None = None,
    ) -> None:
        self.name = name
        self.seconds = seconds
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
        self._database = database
        self._leases: Any = database.get_collection(COLLECTION, write_concern=write_concern)
        self._ends = 0.0

    def acquire(self) -> bool:
        """Take the lease if nobody holds it or has claimed it; says whether it is ours now."""
        asked, now = time.monotonic(), clock.now(self._database)
        try:
            self._leases.update_one(
                {"_id": self.name, "expires_at": {"$lte": now}, **self._unclaimed(now)},
                {
                    "$set": {"owner": self.owner, "expires_at": self._expiry()},
                    "$unset": {"claimed_by": "", "claimed_until": ""},
                },
                upsert=True,
            )
        except DuplicateKeyError:
            # Somebody's unexpired lease has the id that the upsert tried to insert.
            return False
        self._ends = asked + self.seconds
        return True

    def claim(self) -> None:
        """Have the holder leave: it can't renew, nobody else can acquire, for `seconds` from now.

        Repeat it until `acquire` succeeds.
        """
        self._leases.update_one(
            {"_id": self.name},
            {
                "$set": {"claimed_by": self.owner, "claimed_until": self._expiry()},
                "$setOnInsert": {"owner": None, "expires_at": clock.now(self._database)},
            },
            upsert=True,
        )

    def keep(self) -> bool:
        """Renew the lease once half of it is gone; says whether it is still ours."""
        if self.held(margin=self.seconds / 2):
            return True
        asked, now = time.monotonic(), clock.now(self._database)
        renewed = self._leases.update_one(
            {"_id": self.name, "owner": self.owner, **self._unclaimed(now)},
            {"$set": {"expires_at": self._expiry()}},
        )
        if renewed.matched_count == 0:
            return False
        self._ends = asked + self.seconds
        return True

    def held(self, margin: float = 0.0) -> bool:
        """Whether it is surely ours for `margin` seconds more, without asking the server."""
        return time.monotonic() + margin < self._ends

    def release(self) -> None:
        """Give the lease back at once; does nothing if it has passed to somebody else."""
        self._ends = 0.0
        # Dying here: the lease runs out by itself.
        self._leases.update_one(
            {"_id": self.name, "owner": self.owner},
            {"$set": {"owner": None, "expires_at": clock.now(self._database)}},
        )

    def succeed(self, session_id: Any) -> Any:
        """Leave one's session's id with the lease; the one that a holder before has left, or None.

        For who has the lease, so that nothing is in the way that a dead holder had begun.
        """
        before = self._leases.find_one_and_update(
            {"_id": self.name, "owner": self.owner}, {"$set": {"session": session_id}}
        )
        return before and before.get("session")

    def _unclaimed(self, now: datetime) -> dict[str, Any]:
        return {
            "$or": [{"claimed_by": {"$in": [None, self.owner]}}, {"claimed_until": {"$lte": now}}]
        }

    def _expiry(self) -> Any:
        return clock.after(self._database, self.seconds)


def holder_of(owner: str) -> str:
    """The process that an owner names: "host:pid"."""
    return owner.rpartition(":")[0] or owner
