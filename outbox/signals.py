"""Signals: what happens to events on their way, for whoever wants to be told (`django.dispatch`).

Sent in the process in which it happens, with `sender` the name of the subscriber unless another is
named below. A receiver that raises is logged and changes nothing.
"""

from django.dispatch import Signal

#: A pending message has failed for the OUTBOX_STUCK_AFTER-th time: `message` (an `Envelope`, or
#: None if it can't be read), `attempts`, `error`. The sender is the collection's name.
message_stuck = Signal()

#: An event has become a dead letter: `dead_letter_id`, `delivery` (None if unreadable), `error`.
dead_lettered = Signal()

#: There are `count` dead letters, which is OUTBOX_DEAD_LETTER_ALERT or more.
dead_letter_alert = Signal()

#: An event has waited OUTBOX_GAP_TIMEOUT for one before it: `delivery`, `missing` (the first
#: sequence number that isn't there), `policy`.
gap_timed_out = Signal()

#: A circuit breaker has changed to `state`: "open", "half-open" or "closed".
breaker_changed = Signal()

#: A group has not acknowledged an entry of `stream` for longer than OUTBOX_STREAM_RETENTION:
#: `oldest` (the entry's id), `age` (its seconds), `pending` (read and not acknowledged). Once an
#: hour; the sender is the group's name.
group_behind = Signal()
