"""The wake: tells a relay right after a commit that there is something to do. Best effort.

Whatever goes wrong here is logged and forgotten, since the sweep on beat finds the messages all the
same; a broker that is away or hangs costs one command a short wait and then none for a while.
"""

import logging
import os
import time
from threading import Lock

from django.utils.module_loading import import_string

from outbox import connections
from outbox.conf import conf

logger = logging.getLogger(__name__)

#: Seconds that one announcement stands for; a worker that is dead so long is given another.
ANNOUNCED_FOR = 5

_lock = Lock()


def _forked() -> None:
    """A child can be forked while a thread that it doesn't have holds the lock."""
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_forked)

_paused_until: float | None = None


def key(collection: str, partition: int) -> str:
    """The Redis key that says a wake for this partition is queued already."""
    return f"outbox:wake:{collection}:{partition}"


def wake(collection: str, partition: int) -> None:
    """Have `OUTBOX_WAKE` called with this partition. Never raises, and rests after a failure."""
    if conf.WAKE is None or not _may_try():
        return
    try:
        import_string(conf.WAKE)(collection, partition)
    except Exception as error:
        # Any exception: the command is committed, and no broker's client may make it fail.
        _pause()
        logger.warning(
            "Wake failed; no more for %s s, the sweep goes on: %s",
            conf.WAKE_PAUSE,
            error,
            extra={"action": "wake", "collection": collection, "partition": partition},
        )
    else:
        _resume()


def announce(collection: str, partition: int) -> bool:
    """Note in Redis that a wake is queued; False if one was already, and no other is needed."""
    redis = connections.redis_client(conf.WAKE_TIMEOUT)
    return bool(redis.set(key(collection, partition), 1, nx=True, ex=ANNOUNCED_FOR))


def heard(collection: str, partition: int) -> None:
    """Let the next commit announce itself. Call it *before* the sweep, so that none is missed.

    Raises `BrokerUnavailable`.
    """
    with connections.broker_errors():
        connections.redis_client(conf.WAKE_TIMEOUT).delete(key(collection, partition))


def _may_try() -> bool:
    """Whether wakes go through; after a pause, one thread at a time finds out for all."""
    if _paused_until is None:
        return True
    with _lock:
        if _paused_until is not None and time.monotonic() < _paused_until:
            return False
        _pause()
        return True


def _pause() -> None:
    global _paused_until
    _paused_until = time.monotonic() + conf.WAKE_PAUSE


def _resume() -> None:
    global _paused_until
    _paused_until = None
