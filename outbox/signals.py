"""Signals: what happens to events on their way, for whoever wants to be told (`django.dispatch`).

Sent in the process in which it happens, after it is durable, a batch at a time where things are
done in batches. On the side of the outbox the `sender` is the collection's name, on the side of the
consumers the subscriber's. A receiver that raises is logged and changes nothing; one that takes its
time holds up the relay, the consumer or the command. The outbox's own log lines, statistics and
traces are receivers of these too.
"""

from django.dispatch import Signal

#: Messages were stored with their aggregate: `messages` (of type `Envelope`), all of one document.
messages_stored = Signal()

#: A command was refused because too much waits in its aggregate's document: `aggregate_id`.
outbox_full = Signal()

#: Messages are on the stream, and out of their documents: `messages` (of type `Envelope`), `began`
#: and `at` (when their batch was begun to be read, and when the stream had them, by the server's
#: clock), `archived` (whether they are kept in the archive).
messages_published = Signal()

#: The broker has refused a message: `message` (an `Envelope`, or None if it can't be read),
#: `attempts`, `error`.
message_refused = Signal()

#: A pending message has failed for the OUTBOX_STUCK_AFTER-th time: as for `message_refused`, which
#: is sent as well.
message_stuck = Signal()

#: People have given up pending messages: `messages` (of type `Envelope`), `by`, `reason`. A
#: tombstone is published in place of each.
messages_discarded = Signal()

#: Events have had their effect, once: `deliveries`, `at` (the server's time).
events_handled = Signal()

#: Events came again, and had no effect again: `deliveries`.
events_repeated = Signal()

#: A handler has failed, and will be called again: `delivery`, `attempts`, `error`.
event_failed = Signal()

#: An event has become a dead letter: `dead_letter_id`, `delivery` (None if unreadable), `error`.
dead_lettered = Signal()

#: There are `count` dead letters, which is OUTBOX_DEAD_LETTER_ALERT or more.
dead_letter_alert = Signal()

#: An event has waited OUTBOX_GAP_TIMEOUT for one before it: `delivery`, `missing` (the first
#: sequence number that isn't there), `policy`.
gap_timed_out = Signal()

#: A circuit breaker has changed to `state`: "open", "half-open" or "closed". The sender is the
#: subscriber's name, or "relay".
breaker_changed = Signal()

#: A subscriber's consumer group is gone from `stream`, and events may be: it begins anew.
group_lost = Signal()

#: A group has not acknowledged an entry of `stream` for longer than OUTBOX_STREAM_RETENTION:
#: `oldest` (the entry's id), `age` (its seconds), `pending` (read and not acknowledged). Once an
#: hour.
group_behind = Signal()
