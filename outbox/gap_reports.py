"""Gap reports: the log lines about gaps that have lasted too long, one pair of them a minute.

When a broker has lost data, thousands of aggregates have a gap at once; a line for each would say
no more, and hide everything else.
"""

import logging
import time

from outbox.conf import conf
from outbox.delivery import Delivery

logger = logging.getLogger(__name__)

#: Seconds between two reports on one stream.
EVERY = 60.0

#: What is said of each OUTBOX_GAP_POLICY.
POLICIES = {
    "hold": "waits on, and goes on the moment that comes (OUTBOX_GAP_POLICY is hold)",
    "pass": "goes on without (OUTBOX_GAP_POLICY is pass)",
}


class GapReports:
    """Those of one subscriber on one stream."""

    def __init__(self, subscriber: str, stream: str) -> None:
        self._subscriber = subscriber
        self._stream = stream
        self._first: tuple[Delivery, int, int] | None = None
        self._aggregates: set[str] = set()
        self._news = False
        self._next_at = 0.0

    def add(self, event: Delivery, *, missing: int, waited: float, is_new: bool) -> None:
        """A gap to be told of: `event` is there, number `missing` isn't, for `waited` seconds."""
        self._first = self._first or (event, missing, round(waited))
        self._aggregates.add(event.aggregate_id)
        self._news = self._news or is_new

    def tell(self) -> None:
        """Log the first in full and the others in one line, if it is time to: as an ERROR, or as
        a WARNING if all of them have been told of before."""
        if self._first is None or time.monotonic() < self._next_at:
            return
        (event, missing, waited), others = self._first, len(self._aggregates) - 1
        level = logging.ERROR if self._news else logging.WARNING
        extra = {"action": "gap", "subscriber": self._subscriber, "stream": self._stream}
        logger.log(
            level,
            "%s has waited %s s for number %s of %s in %s; number %s is there. It %s.",
            self._subscriber,
            waited,
            missing,
            event.aggregate_id,
            event.topic,
            event.sequence,
            POLICIES[conf.GAP_POLICY],
            extra=event.log | extra,
        )
        if others:
            logger.log(
                level,
                "%s has waited as long for numbers of %s other aggregates on %s.",
                self._subscriber,
                others,
                self._stream,
                extra=extra | {"topic": event.topic, "aggregates": others},
            )
        self._first, self._news = None, False
        self._aggregates.clear()
        self._next_at = time.monotonic() + EVERY
