"""Thresholds: from where on something is worth a warning, and from where on it is bad.

`OUTBOX_THRESHOLDS` names those that are to be otherwise: {"pending_age": (60, 600)}.
"""

from outbox.conf import conf

DEFAULTS: dict[str, tuple[float, float]] = {
    #: Seconds that the oldest pending message waits.
    "pending_age": (30, 300),
    #: Messages that the broker refuses again and again.
    "stuck": (1, 10),
    #: Events that a subscriber couldn't handle, and that nobody has dealt with.
    "dead_letters": (1, 100),
    #: Seconds that an event lies on its stream, not read or not acknowledged by a subscriber.
    "lag": (60, 600),
    #: Seconds since any relay was seen.
    "relay_seen": (15, 60),
    #: Deferred events that wait for one before them that doesn't come.
    "missing": (1, 100),
}


def of(name: str) -> tuple[float, float]:
    """What is worth a warning, and what is bad."""
    warning, bad = conf.THRESHOLDS.get(name, DEFAULTS[name])
    return warning, bad
