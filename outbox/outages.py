"""Outages: MongoDB or Redis being away, told once for all the consumers of a process."""

import logging
import time
from threading import Lock

logger = logging.getLogger(__name__)

#: Seconds after which an outage that goes on is told again.
REMIND_AFTER = 60.0

_lock = Lock()
_since: float | None = None
_told: float | None = None


def began(error: Exception) -> None:
    """A consumer has met with `error`, and waits."""
    global _since, _told
    now = time.monotonic()
    with _lock:
        _since = _since or now
        if _told is not None and now < _told + REMIND_AFTER:
            return
        _told = now
    logger.warning("Consumers wait, nothing is lost: %s", error, extra={"action": "outage"})


def ended() -> None:
    """A consumer has got on again."""
    global _since, _told
    with _lock:
        since, _since, _told = _since, None, None
    if since is not None:
        logger.warning(
            "Consumers go on after %.0f s.", time.monotonic() - since, extra={"action": "outage"}
        )
