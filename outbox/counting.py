"""Counting: what the signals tell becomes the statistics."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from outbox import signals
from outbox.delivery import Delivery
from outbox.envelope import Envelope
from outbox.telemetry import SIZES, telemetry


def connect() -> None:
    """Count from now on; more than once does no harm."""
    for signal, receiver in (
        (signals.messages_stored, _stored),
        (signals.outbox_full, _full),
        (signals.messages_published, _published),
        (signals.message_refused, _refused),
        (signals.message_stuck, _stuck),
        (signals.messages_discarded, _discarded),
        (signals.events_handled, _handled),
        (signals.events_repeated, _repeated),
        (signals.event_failed, _failed),
        (signals.dead_lettered, _dead_lettered),
        (signals.group_lost, _group_lost),
        (signals.breaker_changed, _breaker_changed),
    ):
        signal.connect(receiver, dispatch_uid=f"outbox.counting.{receiver.__name__}")


def _stored(sender: str, messages: Sequence[Envelope], **kwargs: Any) -> None:
    _count_topics("stored", messages)


def _full(sender: str, **kwargs: Any) -> None:
    telemetry.count("full", sender)


def _published(sender: str, messages: Sequence[Envelope], at: datetime, **kwargs: Any) -> None:
    telemetry.observe("batch_size", sender, [len(messages)], SIZES)
    waited: dict[str, list[float]] = defaultdict(list)
    for message in messages:
        waited[message.topic].append((at - message.occurred_at).total_seconds())
    for topic, seconds in waited.items():
        telemetry.count("published", topic, len(seconds))
        telemetry.observe("publish_seconds", topic, seconds)


def _refused(sender: str, message: Envelope | None, **kwargs: Any) -> None:
    telemetry.count("refused", message.topic if message else "unreadable")


def _stuck(sender: str, message: Envelope | None, **kwargs: Any) -> None:
    telemetry.count("stuck", message.topic if message else "unreadable")


def _discarded(sender: str, messages: Sequence[Envelope], **kwargs: Any) -> None:
    _count_topics("discarded", messages)


def _handled(sender: str, deliveries: Sequence[Delivery], at: datetime, **kwargs: Any) -> None:
    telemetry.count("handled", sender, len(deliveries))
    seconds = [(at - delivery.occurred_at).total_seconds() for delivery in deliveries]
    telemetry.observe("handle_seconds", sender, seconds)
    now = at.timestamp()
    # Redis' clock and MongoDB's are two; what comes out below nothing counts as nothing.
    lain = [now - one.added_at for one in deliveries if one.added_at is not None]
    if lain:
        telemetry.observe("consume_seconds", sender, lain)


def _repeated(sender: str, deliveries: Sequence[Delivery], **kwargs: Any) -> None:
    telemetry.count("repeats", sender, len(deliveries))


def _failed(sender: str, **kwargs: Any) -> None:
    telemetry.count("failures", sender)


def _dead_lettered(sender: str, **kwargs: Any) -> None:
    telemetry.count("dead_letters", sender)


def _group_lost(sender: str, **kwargs: Any) -> None:
    telemetry.count("group_lost", sender)


def _breaker_changed(sender: str, state: str, **kwargs: Any) -> None:
    telemetry.breaker(sender, state)


def _count_topics(name: str, messages: Iterable[Envelope]) -> None:
    topics: dict[str, int] = {}  # a save has one; a `Counter` takes ten times as long
    for message in messages:
        topics[message.topic] = topics.get(message.topic, 0) + 1
    for topic, number in topics.items():
        telemetry.count(name, topic, number)
