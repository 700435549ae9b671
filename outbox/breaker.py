"""The circuit breaker: lets a subscriber rest while what its handlers need is away.

After Nygard, "Release It!"; the states and the counting are pybreaker's.
"""

import logging
import time
from contextlib import suppress
from typing import Any

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerListener,
)

from outbox import signals
from outbox.conf import conf

logger = logging.getLogger(__name__)


class Breaker(CircuitBreakerListener):
    """Open after `OUTBOX_BREAKER_FAILURES` failures in a row, for `OUTBOX_BREAKER_RESET` seconds.

    Then one event may try: if that works the breaker closes, else it is open for as long again.
    """

    def __init__(self, subscriber: str) -> None:
        self._opened = 0.0
        self._last_error: Exception | None = None
        self._breaker = CircuitBreaker(
            name=subscriber,
            fail_max=conf.BREAKER_FAILURES,
            reset_timeout=conf.BREAKER_RESET,
            listeners=[self],
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """Closed, open or half-open: that one event may try."""
        found: str = self._breaker.current_state
        return found

    @property
    def is_closed(self) -> bool:
        return self.state == STATE_CLOSED

    @property
    def rests_for(self) -> float:
        """Seconds until an event may try; 0 if one may now."""
        if self.state != STATE_OPEN:
            return 0.0
        # By the monotonic clock: a host's clock that is put back must not prolong it.
        return max(0.0, self._opened + conf.BREAKER_RESET - time.monotonic())

    def let_one_try(self) -> None:
        """Half-open it: what is reported next decides."""
        if self.state == STATE_OPEN:
            self._breaker.half_open()

    def succeeded(self) -> None:
        # Another stream's consumer may have opened it while this one's handler was at work.
        with suppress(CircuitBreakerError):
            self._breaker.call(lambda: None)

    def failed(self, error: Exception) -> None:
        self._last_error = error

        def fail() -> None:
            raise error

        with suppress(Exception):
            self._breaker.call(fail)

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        """Called by pybreaker."""
        log = {"action": "breaker", "subscriber": cb.name, "state": new_state.name}
        if new_state.name == STATE_OPEN:
            self._opened = time.monotonic()
            again = old_state is not None and old_state.name == STATE_HALF_OPEN
            logger.log(
                logging.WARNING if again else logging.ERROR,
                "%s rests for %s s, its circuit breaker is open: %s, the last with %r",
                cb.name,
                conf.BREAKER_RESET,
                "another try failed" if again else f"{cb.fail_max} failures in a row",
                self._last_error,
                extra=log,
            )
        elif new_state.name == STATE_CLOSED:
            logger.warning("%s works again, its circuit breaker is closed.", cb.name, extra=log)
        signals.breaker_changed.send_robust(cb.name, state=new_state.name)
