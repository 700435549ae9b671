"""Outages: what keeps somebody waiting, told once while it goes on.

MongoDB or Redis being away is told once for all the threads of a process; a stream that Redis won't
serve, once for its consumer.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

logger = logging.getLogger(__name__)

#: Seconds after which an outage that goes on is told again.
REMIND_AFTER = 60.0


class Outages:
    """Those that keep `who` of this process waiting; several, or a `single` one."""

    def __init__(self, who: str, *, single: bool = False) -> None:
        self._wait = f"{who} {'waits' if single else 'wait'}"
        self._go_on = f"{who} {'goes' if single else 'go'} on"
        self._lock = Lock()
        self._since: float | None = None
        #: When each kind of error was told last, of those that go on.
        self._told: dict[str, float] = {}

    def began(self, error: Exception) -> None:
        """One of them has met with `error`, and waits."""
        now, what = time.monotonic(), str(error).partition(":")[0]
        with self._lock:
            self._since = self._since or now
            # Another one is told at once: MongoDB may go away while Redis is.
            if what in self._told and now < self._told[what] + REMIND_AFTER:
                return
            self._told[what] = now
        logger.warning("%s, nothing is lost: %s", self._wait, error, extra={"action": "outage"})

    def ended(self) -> None:
        """One of them has got on again."""
        with self._lock:
            since, self._since, self._told = self._since, None, {}
        if since is not None:
            logger.warning(
                "%s after %.0f s.",
                self._go_on,
                time.monotonic() - since,
                extra={"action": "outage"},
            )

    @contextmanager
    def told(self, *errors: type[Exception]) -> Iterator[None]:
        """Tell that one began if the block meets with one of `errors`, which ends the block; that
        it has ended if the block comes to its end. Other exceptions pass, and say nothing.
        """
        try:
            yield
        except errors as error:
            self.began(error)
        else:
            self.ended()


consumers = Outages("Consumers")
relays = Outages("Relays")
