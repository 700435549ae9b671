"""Metrics for Prometheus: the numbers of `monitoring` and `statistics`, asked for at each scrape.

They come from MongoDB and Redis, and not from this process's memory. So whichever process is
scraped, of however many under gunicorn or Celery, they are those of all; and they stay when it
ends. A scrape costs the same however much there is in the collections.

`/metrics` is `exposition`; a project with a registry of its own registers an `OutboxCollector`.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from outbox import bounded, monitoring, statistics
from outbox.conf import conf
from outbox.gauges import GAUGES
from outbox.monitoring import Overview
from outbox.statistics import Counts
from outbox.telemetry import BUCKETS, SIZES

logger = logging.getLogger(__name__)

#: Seconds that a scrape takes at most; Prometheus' own `scrape_timeout` is 10 by default.
PATIENCE = 8.0

#: Each counter's name in the statistics, its own, its label and what it counts.
COUNTERS = [
    ("stored", "outbox_messages_stored", "topic", "Messages stored with their aggregates."),
    ("published", "outbox_messages_published", "topic", "Messages published to the broker."),
    ("refused", "outbox_messages_refused", "topic", "Refusals of messages by the broker."),
    ("stuck", "outbox_messages_stuck", "topic", "Messages that became stuck."),
    ("discarded", "outbox_messages_discarded", "topic", "Pending messages that were given up."),
    ("full", "outbox_full", "collection", "Commands refused because a document's outbox is full."),
    ("handled", "outbox_events_handled", "subscriber", "Events that had their effect."),
    ("repeats", "outbox_events_repeated", "subscriber", "Duplicates skipped."),
    ("failures", "outbox_event_failures", "subscriber", "Failed attempts; another follows."),
    ("dead_letters", "outbox_events_dead_lettered", "subscriber", "Events given up on."),
]

#: The same of each histogram, and the upper bounds of its buckets.
HISTOGRAMS = [
    (
        *("publish_seconds", "outbox_commit_to_publish_seconds", "topic"),
        "From when a message was recorded until it was published.",
        BUCKETS,
    ),
    (
        *("handle_seconds", "outbox_commit_to_handled_seconds", "subscriber"),
        "From when a message was recorded until the subscriber had handled it.",
        BUCKETS,
    ),
    (
        *("consume_seconds", "outbox_publish_to_handled_seconds", "subscriber"),
        "From when a message came on its stream until the subscriber had handled it.",
        BUCKETS,
    ),
    (
        *("batch_size", "outbox_batch_messages", "collection"),
        "Messages that a relay published at a time.",
        SIZES,
    ),
]


class Reading(NamedTuple):
    """What one scrape tells."""

    overview: Overview
    totals: Counts


class OutboxCollector(Collector):
    """All metrics of the outbox, for any registry.

    If the store can't be asked within `PATIENCE` they are `outbox_up 0` and nothing else: no number
    is better than an old one. Of a broker that is away there are no numbers either.
    """

    def describe(self) -> Iterator[Metric]:
        """All names, without numbers: a registry sees which are taken, and no server is asked."""
        yield _up(None)
        yield from _families(None)

    def collect(self) -> Iterator[Metric]:
        reading = _read_in_time()
        yield _up(reading)
        if reading is not None:
            yield from _families(reading)


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics as text, in the format that an `Accept` header asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


@cache
def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(OutboxCollector())
    return registry


def _up(reading: Reading | None) -> Metric:
    family = GaugeMetricFamily("outbox_up", "Whether the outbox's store could be asked.")
    family.add_metric([], reading is not None)
    return family


def _families(reading: Reading | None) -> Iterator[Metric]:
    """Every metric but that; without a reading, without numbers."""
    for gauge in GAUGES:
        family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
        for at, value in gauge.known(reading.overview) if reading else ():
            family.add_metric(at, value)
        yield family
    totals = reading.totals if reading else {}
    known = _known(reading.overview) if reading else {}
    for key, name, label, text in COUNTERS:
        counter = CounterMetricFamily(name, text, labels=[label])
        # From 0 on, so that Prometheus sees the first increase too.
        for one, number in (dict.fromkeys(known.get(label, ()), 0) | totals.get(key, {})).items():
            counter.add_metric([one], number)
        yield counter
    for key, name, label, text, bounds in HISTOGRAMS:
        histogram = HistogramMetricFamily(name, text, labels=[label])
        for one, counts in totals.get(key, {}).items():
            histogram.add_metric([one], _buckets(counts, bounds), counts.get("sum", 0.0))
        yield histogram


def _known(overview: Overview) -> dict[str, list[str]]:
    """The values that a label surely has, if anything is counted."""
    if not conf.STATISTICS:
        return {}
    return {
        "topic": [one.name for one in overview.topics],
        "subscriber": [one.name for one in overview.subscribers],
    }


def _buckets(counts: Mapping[str, float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Each bucket's upper bound, and how many values are in it or in one before it."""
    upper = [*map(floatToGoString, bounds), "+Inf"]
    numbers = accumulate(counts.get(str(i), 0) for i in range(len(upper)))
    return list(zip(upper, numbers, strict=True))


def _read() -> Reading:
    return Reading(monitoring.overview(), statistics.totals())


def _read_in_time() -> Reading | None:
    try:
        return bounded.answer_by(time.monotonic() + PATIENCE, bounded.ask(_read))
    except Exception as error:
        # Any error: the scrape has to say so, and a 500 would only say that something is wrong.
        logger.warning("The metrics can't be read: %r", error, extra={"action": "metrics"})
        return None
