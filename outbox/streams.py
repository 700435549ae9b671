"""Streams: where a topic's messages lie on the broker, as `OUTBOX_TOPICS` spreads them.

A topic is one stream of its own name, or, with partitions, the streams `orders.0`, `orders.1` …
An aggregate's messages of one topic are all on one of them, so their order is the stream's.
"""

from collections.abc import Callable
from zlib import crc32

from outbox import connections
from outbox.conf import conf

#: Streams that a topic can be spread over.
MOST_PARTITIONS = 1024


def stream_of(topic: str, aggregate_id: str) -> str:
    """The stream that an aggregate's messages of a topic lie on."""
    return naming()(topic, aggregate_id)


def streams_of(topic: str) -> list[str]:
    """All streams of a topic, in the order of their partitions."""
    name, partitions = conf.STREAM_PREFIX + topic, _partitions().get(topic)
    return [f"{name}.{number}" for number in range(partitions)] if partitions else [name]


def naming() -> Callable[[str, str], str]:
    """`stream_of` with the settings as they are now: for many messages at a time."""
    prefix, partitions = conf.STREAM_PREFIX, _partitions()

    def name(topic: str, aggregate_id: str) -> str:
        if topic not in partitions:
            return f"{prefix}{topic}"
        return f"{prefix}{topic}.{crc32(aggregate_id.encode()) % partitions[topic]}"

    return name


def _partitions() -> dict[str, int]:
    """The number of partitions of each topic that has several."""
    found = {topic: options["partitions"] for topic, options in conf.TOPICS.items()}
    return {topic: number for topic, number in found.items() if number > 1}


def left_over(topic: str, timeout: float | None = None) -> list[str]:
    """Streams of the topic that an earlier `OUTBOX_TOPICS` made and that are still there.

    What lies on them is still to be consumed. Raises `BrokerUnavailable` if Redis doesn't answer
    within `timeout` seconds (`OUTBOX_REDIS_TIMEOUT`).
    """
    name, now = conf.STREAM_PREFIX + topic, streams_of(topic)
    candidates = [name, *(f"{name}.{number}" for number in range(MOST_PARTITIONS))]
    others = [one for one in candidates if one not in now]
    client = connections.redis_client(timeout)
    pipeline = client.pipeline(transaction=False)
    for one in others:
        pipeline.exists(one)
    with connections.broker_errors():
        if not client.exists(*others):  # nearly always, and much sooner said
            return []
        return [one for one, is_there in zip(others, pipeline.execute(), strict=True) if is_there]
