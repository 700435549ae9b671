"""Repeats: what is sent twice under one `Idempotency-Key` is done once, and answered the same."""

import time
from collections.abc import Callable

from outbox.api.headers import Idempotency
from outbox.errors import AlreadyDone, ConcurrencyError
from outbox.once import Done, once

#: Seconds that a repeat waits for the end of the first one, and between two looks.
PATIENCE, PAUSE = 10.0, 0.05


def done_once(
    request: Idempotency, act: Callable[[], Done], *, action: str, by: str, reason: str
) -> Done:
    """What `act` does, or did when the same request came for the first time.

    What failed is forgotten, and tried again. Raises `MessageIdReused` if it was another request,
    and `ConcurrencyError` if it is at work for longer than `PATIENCE`, or its process died of it.
    """
    operation_id = request.message_id if request.fingerprint else None
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return once(
                operation_id,
                act,
                action=action,
                by=by,
                reason=reason,
                fingerprint=request.fingerprint,
            )
        except AlreadyDone as first:
            if first.done is not None:
                done: Done = first.done
                return done
        if time.monotonic() > ends:
            raise ConcurrencyError(
                "The first request with this Idempotency-Key isn't done yet: it is still at work, "
                "or was broken off. Send this again later, or look what was done and use a new key."
            )
        time.sleep(PAUSE)
