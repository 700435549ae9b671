"""The overview's charts: the last hour by minute, and the last day by ten."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from django.utils.safestring import SafeString

from outbox import statistics
from outbox.admin import charts, series
from outbox.admin.charts import Axis, Line
from outbox.admin.display import duration
from outbox.conf import conf
from outbox.statistics import Minute
from outbox.telemetry import BUCKETS

FAILURES = ("refused", "failures", "dead_letters")
WAITED = "publish_seconds"
NAMES = ("published", "handled", *FAILURES, WAITED)


class Span(NamedTuple):
    """A time that has charts: how long, of what slots, and both in words."""

    key: str
    title: str
    length: timedelta
    slot: timedelta
    per: str
    since: str


HOUR = Span("hour", "The last hour", timedelta(hours=1), timedelta(minutes=1), "a minute",
            "an hour ago")  # fmt: skip
DAY = Span("day", "The last day", timedelta(days=1), timedelta(minutes=10), "in ten minutes",
           "a day ago")  # fmt: skip


class Charts(NamedTuple):
    """The charts of one span, each with its title."""

    span: Span
    charts: list[tuple[str, SafeString]]


def of(now: datetime) -> list[Charts]:
    """The charts of the hour, and those of the day: these are drawn anew each minute only.

    Raises `StoreUnavailable`.
    """
    minute = now.replace(second=0, microsecond=0)
    return [_read(now, HOUR), _day(minute, (conf.MONGODB_URI, conf.MONGODB_DATABASE))]


@lru_cache(maxsize=1)
def _day(minute: datetime, database: tuple[str, str]) -> Charts:
    return _read(minute, DAY)


def _read(now: datetime, span: Span) -> Charts:
    return drawn(statistics.minutes(now - span.length, NAMES), now, span)


def drawn(minutes: Sequence[Minute], now: datetime, span: Span) -> Charts:
    """The charts of one span, of the minutes that lie in it."""
    starts = series.slots(now, span.length, span.slot)
    axis = Axis([f"{start:%H:%M} UTC" for start in starts], span.since)

    def counted(title: str, kind: str, *names: str) -> tuple[str, SafeString]:
        values = series.counted(minutes, names, starts, span.slot)
        key = f"outbox-{span.key}-{kind}"
        return title, charts.bars(key, title, axis, values, kind, lambda n: f"{n:,.0f} {span.per}")

    buckets = series.histograms(minutes, WAITED, starts, span.slot)
    lines = [
        Line(name, kind, [series.quantile(one, BUCKETS, share) for one in buckets])
        for name, kind, share in (("half within", "p50", 0.5), ("95 % within", "p95", 0.95))
    ]
    waited = "From commit to stream"
    return Charts(
        span,
        [
            counted("Published", "published", "published"),
            counted("Handled", "handled", "handled"),
            counted("Failures", "failures", *FAILURES),
            (waited, charts.lines(f"outbox-{span.key}-waited", waited, axis, lines, seconds)),
        ],
    )


def seconds(number: float) -> str:
    """A time in words, with as many digits as say something."""
    if number < 1:
        return f"{number * 1000:.0f} ms"
    return f"{number:.1f} s" if number < 10 else duration(number)
