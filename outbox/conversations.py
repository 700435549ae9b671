"""Conversations: what one request has led to, message by message.

All messages of a conversation have one correlation id; what a message was caused by is its
causation id: that of a command or of another message. Read from the archive and from what is
pending. All functions raise `StoreUnavailable` and `MissingIndex`.
"""

from operator import attrgetter
from typing import NamedTuple

from outbox import dispatched, pending
from outbox.message_store import StoredMessage

#: Messages of a conversation that are read, of the archive and of what is pending.
MOST = 200


class Chain(NamedTuple):
    """What led to a message, the first cause first, and what it has caused itself."""

    causes: list[StoredMessage]
    effects: list[StoredMessage]


def messages(correlation_id: str) -> list[StoredMessage]:
    """The messages of a conversation with their metadata, the oldest first; `MOST` at most.

    One request to the archive and one for each collection; payloads stay with the server.
    """
    if not correlation_id:
        return []
    archived = dispatched.conversation(correlation_id, MOST)
    waiting = pending.conversation(correlation_id, MOST)
    # What is being relayed may be seen in both places.
    known = {one.event_id for one in archived}
    found: list[StoredMessage] = [
        *archived,
        *(one for one in waiting if one.event_id not in known),
    ]
    return sorted(found, key=attrgetter("occurred_at", "event_id"))[:MOST]


def chain(message: StoredMessage, among: list[StoredMessage] | None = None) -> Chain:
    """What caused a message, and what it caused, of its conversation.

    `message` has its metadata; `among` are the messages of its conversation, if they are known.
    """
    if among is None:
        among = messages(str(message.metadata.get("correlationId") or ""))
    by_id = {one.event_id: one for one in among}
    causes: list[StoredMessage] = []
    seen, one = {message.event_id}, message
    while (cause := by_id.get(one.metadata.get("causationId", ""))) and cause.event_id not in seen:
        causes.insert(0, cause)
        seen.add(cause.event_id)
        one = cause
    effects = [
        one
        for one in among
        if one.metadata.get("causationId") == message.event_id and one.event_id != message.event_id
    ]
    return Chain(causes, effects)
