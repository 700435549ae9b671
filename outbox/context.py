"""The message context: which conversation, and which message in it, the running code serves.

It travels in a context variable, from the middleware or consumer that sets it to the repository
that writes it into the metadata of each message.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from uuid_utils import uuid7


def new_id() -> str:
    """A new message id: a UUIDv7, so that ids sort by time."""
    return str(uuid7())


def new_traceparent() -> str:
    """A W3C `traceparent` that starts a trace nobody has sampled."""
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-00"


def trace_id(traceparent: object) -> str | None:
    """The trace that a `traceparent` belongs to; None if it isn't one."""
    parts = str(traceparent).split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


class ConsumerInbox(NamedTuple):
    """What a consumer has documents remember of the events of its stream, under `key`.

    A document forgets none of the `unsettled` ones: those that may have had their effect, and that
    the consumer hasn't noted. `is_current()` says whether the stream is still this consumer's: one
    that was paused, and taken over from, finds out before it decides by what it has loaded.
    """

    key: str
    unsettled: set[str]
    is_current: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class MessageContext:
    """What a message handler may know beside the message.

    `correlation_id` names the whole conversation, `traceparent` its trace (W3C Trace Context).
    `message_id` is the command or event being handled: the direct cause (`causationId`) of what
    comes of it, and what the embedded inbox remembers. None outside any handler.
    `fingerprint` is a digest of what a caller who may repeat itself sent under `message_id`: the
    repository then tells a repeat from another message under the same id, and keeps the
    aggregate as the message leaves it, so that the repeat can be given the same answer.
    `inbox` is that of the consumer which sends a command for an event.
    """

    correlation_id: str = field(default_factory=new_id)
    traceparent: str = field(default_factory=new_traceparent)
    message_id: str | None = None
    fingerprint: str | None = None
    inbox: ConsumerInbox | None = None

    def metadata(self) -> dict[str, str]:
        """The ids as they stand in a published message's metadata."""
        return {
            "correlationId": self.correlation_id,
            "causationId": self.message_id or self.correlation_id,
            "traceparent": self.traceparent,
        }


_current: ContextVar[MessageContext | None] = ContextVar("outbox_message_context", default=None)


def current() -> MessageContext:
    """The context in force, or a new one that belongs to nobody else."""
    return _current.get() or MessageContext()


@contextmanager
def use(context: MessageContext) -> Iterator[MessageContext]:
    """Put `context` in force for the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextmanager
def handling(message_id: str, *, fingerprint: str | None = None) -> Iterator[MessageContext]:
    """Go on with the conversation in force, `message_id` being the message that is handled."""
    with use(replace(current(), message_id=message_id, fingerprint=fingerprint)) as context:
        yield context
