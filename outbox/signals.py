"""Signals: what happens to events on their way, for whoever wants to be told (`django.dispatch`).

Sent in the process in which it happens, with `sender` the name of the subscriber. A receiver that
raises is logged and changes nothing.
"""

from django.dispatch import Signal

#: An event has become a dead letter: `dead_letter_id`, `delivery` (None if unreadable), `error`.
dead_lettered = Signal()

#: There are `count` dead letters, which is OUTBOX_DEAD_LETTER_ALERT or more.
dead_letter_alert = Signal()

#: An event has waited OUTBOX_GAP_TIMEOUT for one before it: `delivery`, `missing` (the first
#: sequence number that isn't there), `policy`.
gap_timed_out = Signal()

#: A circuit breaker has changed to `state`: "open", "half-open" or "closed".
breaker_changed = Signal()
