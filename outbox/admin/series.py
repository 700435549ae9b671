"""Series: the minutes of the statistics as numbers for a chart, one for each slot of time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from outbox.statistics import Minute

#: A histogram's buckets, {number: observations}, as telemetry counts them: the numbers as text, the
#: one after the last bound for what is beyond it.
Buckets = dict[str, float]


def slots(now: datetime, span: timedelta, width: timedelta) -> list[datetime]:
    """When each slot of the last `span` begins, oldest first; `now` lies in the last of them."""
    last = now - (now - datetime.min.replace(tzinfo=now.tzinfo)) % width
    return [last - width * back for back in reversed(range(span // width))]


def counted(
    minutes: Iterable[Minute], names: Sequence[str], starts: Sequence[datetime], width: timedelta
) -> list[float]:
    """How many of `names` there were in each slot, over all labels."""
    sums = [0.0] * len(starts)
    for slot, counts in _placed(minutes, starts, width):
        for name in names:
            if labelled := counts.get(name):
                sums[slot] += sum(labelled.values())
    return sums


def histograms(
    minutes: Iterable[Minute], name: str, starts: Sequence[datetime], width: timedelta
) -> list[Buckets]:
    """The buckets of the histogram `name` in each slot, over all labels."""
    found: list[Buckets] = [{} for _ in starts]
    for slot, counts in _placed(minutes, starts, width):
        buckets = found[slot]
        for labelled in counts.get(name, {}).values():
            for number, observations in labelled.items():
                buckets[number] = buckets.get(number, 0) + observations
    for buckets in found:
        buckets.pop("sum", None)
    return found


def quantile(buckets: Buckets, bounds: Sequence[float], share: float) -> float | None:
    """What this share of the observations didn't exceed; None without any.

    As Prometheus' `histogram_quantile` estimates it: evenly spread within a bucket, and beyond the
    last bound that bound.
    """
    rank, seen, low = share * sum(buckets.values()), 0.0, 0.0
    if rank <= 0:
        return None
    for number, bound in enumerate(bounds):
        here = buckets.get(str(number), 0)
        if here and seen + here >= rank:
            return low + (bound - low) * (rank - seen) / here
        seen, low = seen + here, bound
    return bounds[-1]


def _placed(
    minutes: Iterable[Minute], starts: Sequence[datetime], width: timedelta
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The slot and the counts of each minute that lies in one."""
    for minute in minutes:
        slot = (minute.at - starts[0]) // width
        if 0 <= slot < len(starts):
            yield slot, minute.counts
