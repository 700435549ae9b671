"""Backoff: how long to wait before trying again."""

import random

from outbox.conf import conf


def delay(attempts: int) -> float:
    """Seconds to wait after the `attempts`-th failure: exponential, with full jitter.

    Between 0 and `OUTBOX_BACKOFF` doubled with each failure, at most `OUTBOX_BACKOFF_MAX`. After
    Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    return random.uniform(0, min(conf.BACKOFF_MAX, conf.BACKOFF * 2 ** min(attempts - 1, 30)))
