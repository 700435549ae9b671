"""The lease: a time-limited right to do something alone, held in MongoDB.

A relay leases a partition, so that its documents needn't be claimed one by one. A holder that dies
is waited for no longer than the lease lasts; one that was paused past it finds out by its own
monotonic clock before it publishes.
"""

import time
from typing import Any

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from outbox import clock
from outbox.context import new_id

COLLECTION = "outbox_leases"


class Lease:
    """Held by one owner at a time, as far as the server's clock can tell.

    Not a lock: a holder that is stopped between looking and acting may act late. The relay can
    bear that, since it then publishes again what has been published (see `Relay`).
    """

    def __init__(self, database: Database[Any], name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self.owner = new_id()
        self._database = database
        self._ends = 0.0

    def acquire(self) -> bool:
        """Take the lease if nobody holds it; says whether it is ours now."""
        asked = time.monotonic()
        try:
            self._leases.update_one(
                {"_id": self.name, "expires_at": {"$lte": clock.now(self._database)}},
                {"$set": {"owner": self.owner, "expires_at": self._expiry()}},
                upsert=True,
            )
        except DuplicateKeyError:
            # Somebody's unexpired lease has the id that the upsert tried to insert.
            return False
        self._ends = asked + self.seconds
        return True

    def keep(self) -> bool:
        """Renew the lease once half of it is gone; says whether it is still ours."""
        if self.held(margin=self.seconds / 2):
            return True
        asked = time.monotonic()
        renewed = self._leases.update_one(
            {"_id": self.name, "owner": self.owner}, {"$set": {"expires_at": self._expiry()}}
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
        # Dying here: the lease runs out by itself.
        self._leases.update_one(
            {"_id": self.name, "owner": self.owner},
            {"$set": {"owner": None, "expires_at": clock.now(self._database)}},
        )

    @property
    def _leases(self) -> Any:
        return self._database[COLLECTION]

    def _expiry(self) -> Any:
        return clock.after(self._database, self.seconds)
