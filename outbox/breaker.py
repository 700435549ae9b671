"""The circuit breaker: lets a subscriber rest while what its handlers need is away; and the relay.

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

#: Seconds after which an outage that goes on is told again.
REMIND_AFTER = 60.0


class Breaker(CircuitBreakerListener):
    """Open after so many `failures` in a row, and then for `rest` seconds.

    By default `OUTBOX_BREAKER_FAILURES` and `OUTBOX_BREAKER_RESET`. Then one may try: if that works
    the breaker closes, else it is open for as long again. `name` is the subscriber's, or "relay".
    """

    def __init__(
        self, name: str, *, failures: int | None = None, rest: float | None = None
    ) -> None:
        self._opened = 0.0
        self._told = 0.0
        self._rest = rest
        self._last_error: Exception | None = None
        self._breaker = CircuitBreaker(
            name=name,
            fail_max=failures or conf.BREAKER_FAILURES,
            reset_timeout=self.rest,
            listeners=[self],
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """Closed, open or half-open: that one may try."""
        found: str = self._breaker.current_state
        return found

    @property
    def is_closed(self) -> bool:
        return self.state == STATE_CLOSED

    @property
    def rest(self) -> float:
        """Seconds that it is open."""
        return conf.BREAKER_RESET if self._rest is None else self._rest

    @property
    def rests_for(self) -> float:
        """Seconds until one may try; 0 if one may now."""
        if self.state != STATE_OPEN:
            return 0.0
        # By the monotonic clock: a host's clock that is put back must not prolong it.
        return max(0.0, self._opened + self.rest - time.monotonic())

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
            self._opened = now = time.monotonic()
            again = old_state is not None and old_state.name == STATE_HALF_OPEN
            failures = f"{cb.fail_max} failures in a row" if cb.fail_max > 1 else "a failure"
            if not again or now >= self._told + REMIND_AFTER:
                self._told = now
                logger.log(
                    logging.WARNING if again else logging.ERROR,
                    "%s rests, its circuit breaker is open, and tries again every %s s: %s, the "
                    "last with %r",
                    cb.name,
                    self.rest,
                    "it still fails" if again else failures,
                    self._last_error,
                    extra=log,
                )
        elif new_state.name == STATE_CLOSED:
            logger.warning("%s works again, its circuit breaker is closed.", cb.name, extra=log)
        signals.breaker_changed.send_robust(cb.name, state=new_state.name)
