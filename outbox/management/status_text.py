"""The status in words: an overview as a table that fits a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from outbox.diagnosis import BAD, WELL, Problem, level, seconds_in_words
from outbox.envelope import timestamp
from outbox.management.live_view import visible
from outbox.monitoring import Overview, SubscriberState

RIGHT, LEFT = str.rjust, str.ljust


def lines(state: Overview, problems: Sequence[Problem], colours: Any) -> Iterator[str]:
    """What is wrong and what to do comes first, then the figures."""
    yield from verdict(state.at, problems, colours)
    if state.broker_error:
        yield ""
        yield f"Redis' client says: {visible(state.broker_error)}"
    yield ""
    yield from _messages(state)
    yield ""
    yield from table(
        (("topic", LEFT), ("published", RIGHT), ("last minute", RIGHT), ("on its streams", RIGHT)),
        [
            (one.name, *map(_number, (one.published, one.published_per_minute, one.entries)))
            for one in state.topics
        ],
        colours,
    )
    yield ""
    yield from table(
        (
            ("subscriber", LEFT),
            ("topic", LEFT),
            ("unread", RIGHT),
            ("behind", RIGHT),
            ("in hand", RIGHT),
            ("put aside", RIGHT),
            ("dead", RIGHT),
            ("consumer", LEFT),
        ),
        [_subscriber(one) for one in state.subscribers],
        colours,
    )
    relays = sorted({one.holder for one in state.leases if not one.name.startswith("consumer:")})
    seen = "never" if state.relay_seen is None else f"{seconds_in_words(state.relay_seen)} ago"
    yield ""
    yield f"Relay seen {seen}; partitions are held by {', '.join(relays) or 'nobody'} just now."
    yield from (
        f"The circuit breaker of {one.name} in {one.process} is {one.state} "
        f"since {timestamp(one.since)}."
        for one in state.breakers
        if one.state != "closed"
    )


def verdict(at: datetime | None, problems: Sequence[Problem], colours: Any) -> Iterator[str]:
    """How it is, and each problem with its advice."""
    how = level(problems)
    colour = {WELL: colours.SUCCESS, BAD: colours.ERROR}.get(how, colours.WARNING)
    when = f" at {timestamp(at)[:19]}Z" if at else ""
    yield f"The outbox{when}: {colour(how.upper())}"
    for one in problems:
        colour = colours.ERROR if one.level == BAD else colours.WARNING
        yield ""
        yield f"{colour(one.level.upper())} {visible(one.text)}"
        if one.detail:
            yield f"  {visible(one.detail)}"
        yield f"  {visible(one.advice)}"


def plain(value: Any) -> Any:
    """The same as JSON has it: named tuples and dataclasses as objects, times in ISO 8601."""
    if isinstance(value, datetime):
        return timestamp(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def _messages(state: Overview) -> Iterator[str]:
    pending, about = state.pending, "" if state.pending.is_exact else "about "
    oldest = ""
    if pending.oldest:
        age = max(0.0, (state.at - pending.oldest).total_seconds())
        oldest = f", the oldest for {seconds_in_words(age)}"
    yield f"Pending       {about}{pending.messages:,}{oldest}"
    yield f"Stuck         {state.stuck:,}"
    replaying = f", and {state.replaying:,} being tried again" if state.replaying else ""
    yield f"Dead letters  {state.dead_letters:,}{replaying}"
    if state.failing:
        failing: Counter[str] = Counter()
        for one in state.failing:
            failing[one.subscriber] += one.events
        names = ", ".join(f"{name} {number:,}" for name, number in failing.items())
        yield f"Failing       {failing.total():,}, to be tried again: {visible(names)}"
    yield f"Published     {state.published_per_minute:,} in the last full minute"


def _subscriber(one: SubscriberState) -> tuple[str, ...]:
    least = "" if one.lag_is_exact or not one.lag else "≥ "
    consumer = ", ".join(one.active) or ("waits" if one.consumers else "none")
    return (
        one.name,
        one.topic,
        f"{least}{_number(one.lag)}",
        seconds_in_words(one.lag_seconds) if one.lag_seconds else "-",
        _number(one.unacknowledged),
        _number(one.deferred),
        _number(one.dead_letters),
        f"{consumer} (rests)" if one.breaker == "open" else consumer,
    )


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def table(
    columns: Sequence[tuple[str, Any]], rows: Sequence[Sequence[str]], colours: Any
) -> Iterator[str]:
    """Lines of cells below their titles, each column with its way to align (`RIGHT`, `LEFT`)."""
    titles = [title for title, _ in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = zip(cells, columns, widths, strict=True)
        return "  ".join(align(cell, width) for cell, (_, align), width in aligned).rstrip()

    yield colours.MIGRATE_HEADING(line(titles))
    yield from map(line, rows)
