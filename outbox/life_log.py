"""The life log: what becomes of messages and events, told on the logger `outbox.life`.

Stored, discarded, published, handled, and come again. At INFO a line for each batch that is
published or handled, at DEBUG one for each message as well, whose facts are also fields of the
record (`extra`). What fails isn't told here: those lines are the relay's and the consumer's. No
line has anything of a payload.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from outbox import context, signals
from outbox.delivery import Delivery
from outbox.envelope import Envelope

logger = logging.getLogger("outbox.life")


def connect() -> None:
    """Tell it from now on; more than once does no harm."""
    for signal, receiver in (
        (signals.messages_stored, _stored),
        (signals.messages_discarded, _discarded),
        (signals.messages_published, _published),
        (signals.events_handled, _handled),
        (signals.events_repeated, _repeated),
    ):
        signal.connect(receiver, dispatch_uid=f"outbox.life_log.{receiver.__name__}")


def _stored(sender: str, messages: Sequence[Envelope], **kwargs: Any) -> None:
    _each(sender, "stored", messages)


def _discarded(sender: str, messages: Sequence[Envelope], **kwargs: Any) -> None:
    # Not by whom and why: that is the operation's line.
    _each(sender, "discarded", messages)


def _each(collection: str, action: str, messages: Sequence[Envelope]) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        for message in messages:
            fields = _fields(action, message) | {"collection": collection}
            logger.debug("%s %s", action.capitalize(), _named(message), extra=fields)


def _published(sender: str, messages: Sequence[Envelope], at: datetime, **kwargs: Any) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    if logger.isEnabledFor(logging.DEBUG):
        for message in messages:
            seconds = _seconds(message, at)
            fields = _fields("published", message) | {"collection": sender, "seconds": seconds}
            logger.debug("Published %s after %.3f s", _named(message), seconds, extra=fields)
    topics = Counter(message.topic for message in messages)
    longest = max(_seconds(message, at) for message in messages)
    logger.info(
        "Published %s of %s to %s; the oldest after %.3f s",
        _number(len(messages), "message"),
        sender,
        ", ".join(f"{topic} ({number})" for topic, number in sorted(topics.items())),
        longest,
        extra={
            "action": "published",
            "collection": sender,
            "count": len(messages),
            "topics": dict(topics),
            "seconds": longest,
        },
    )


def _handled(sender: str, deliveries: Sequence[Delivery], at: datetime, **kwargs: Any) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    if logger.isEnabledFor(logging.DEBUG):
        for one in deliveries:
            seconds = _seconds(one, at)
            fields = _fields("handled", one) | {"subscriber": sender, "seconds": seconds}
            logger.debug("%s handled %s after %.3f s", sender, _named(one), seconds, extra=fields)
    topic, longest = deliveries[0].topic, max(_seconds(one, at) for one in deliveries)
    logger.info(
        "%s handled %s of %s; the oldest after %.3f s",
        sender,
        _number(len(deliveries), "event"),
        topic,
        longest,
        extra={
            "action": "handled",
            "subscriber": sender,
            "topic": topic,
            "count": len(deliveries),
            "seconds": longest,
        },
    )


def _repeated(sender: str, deliveries: Sequence[Delivery], **kwargs: Any) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    if logger.isEnabledFor(logging.DEBUG):
        for one in deliveries:
            fields = _fields("repeated", one) | {"subscriber": sender}
            logger.debug("%s was given %s again", sender, _named(one), extra=fields)
    logger.info(
        "%s was given %s of %s again, to no effect",
        sender,
        _number(len(deliveries), "event"),
        deliveries[0].topic,
        extra={
            "action": "repeated",
            "subscriber": sender,
            "topic": deliveries[0].topic,
            "count": len(deliveries),
        },
    )


def _named(message: Envelope | Delivery) -> str:
    where = f"number {message.sequence} of {message.aggregate_id} in {message.topic}"
    return f"{message.type} {message.event_id} ({where})"


def _fields(action: str, message: Envelope | Delivery) -> dict[str, Any]:
    return {
        "action": action,
        "event_id": message.event_id,
        "event_type": message.type,
        "aggregate_id": message.aggregate_id,
        "topic": message.topic,
        "correlation_id": message.metadata.get("correlationId"),
        "trace_id": context.trace_id(message.metadata.get("traceparent")),
    }


def _seconds(message: Envelope | Delivery, at: datetime) -> float:
    """How long ago the event occurred; the milliseconds that the server's clock has."""
    return round((at - message.occurred_at).total_seconds(), 3)


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
