"""Figures: the numbers to look at first, and where each of them and each problem leads."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from outbox.admin.display import duration
from outbox.diagnosis import Problem
from outbox.monitoring import Overview

#: The lists that the overview leads to, as models.
LISTS = ("pendingmessage", "dispatchedmessage", "waitingevent", "deadletter")

#: Where a problem is to be seen: a list and what it is narrowed to, or a part of the overview.
LISTED: dict[str, tuple[str, dict[str, str]]] = {
    "pending_age": ("pendingmessage", {}),
    "stuck": ("pendingmessage", {"state": "stuck"}),
    "dead_letters": ("deadletter", {}),
    "failing": ("waitingevent", {"state": "tried"}),
    "crash_loop": ("waitingevent", {"state": "tried"}),
}
SHOWN = {
    "data_lost": "subscribers",
    "strange_key": "topics",
    "no_relay": "processes",
    "no_consumer": "subscribers",
    "lag": "subscribers",
    "missing": "subscribers",
    "breaker": "breakers",
}

#: By the name of a list, its address; only those that the user may see.
Addresses = Mapping[str, str]


class Figure(NamedTuple):
    """A number with its name, a word on it, how bad it is, and the list that has what it counts."""

    name: str
    value: str
    note: str
    level: str
    address: str


def figures(state: Overview, problems: Iterable[Problem], addresses: Addresses) -> list[Figure]:
    """The numbers to look at first."""
    levels = {one.code: one.level for one in reversed(list(problems))}
    waiting, oldest = state.pending, state.pending.oldest
    about = "" if waiting.is_exact else "about "
    age = "nothing waits"
    if oldest is not None:
        age = f"the oldest for {duration((state.at - oldest).total_seconds())}"
    replaying = f"{state.replaying:,} being tried again" if state.replaying else ""

    def figure(name: str, value: str, note: str, code: str, model: str, **query: str) -> Figure:
        return Figure(name, value, note, levels.get(code, ""), address(addresses, model, query))

    return [
        figure("Pending", f"{about}{waiting.messages:,}", age, "pending_age", "pendingmessage"),
        figure("Stuck", f"{state.stuck:,}", "", "stuck", "pendingmessage", state="stuck"),
        figure(
            "Dispatched", f"{state.published_per_minute:,}", "in the last full minute", "no_relay",
            "dispatchedmessage",
        ),
        figure(
            "Dead letters", f"{state.dead_letters:,}", replaying, "dead_letters", "deadletter"
        ),
    ]  # fmt: skip


def link(problem: Problem, addresses: Addresses) -> tuple[str, str]:
    """Where a problem is to be seen, and what to call that; ("", "") if the user may not."""
    if problem.code in LISTED:
        model, query = LISTED[problem.code]
        about = {"subscriber": problem.subject} if problem.subject else {}
        return address(addresses, model, query | about), "Show them"
    if part := SHOWN.get(problem.code):
        return f"#outbox-{part}", f"See {part} below"
    return "", ""


def address(addresses: Addresses, model: str, query: Mapping[str, str]) -> str:
    """The address of a list that is narrowed; "" if the user may not see it."""
    known = addresses.get(model, "")
    return f"{known}?{urlencode(query)}" if known and query else known


def with_commands(text: str) -> SafeString:
    """A text in which what is to be typed, between backticks, looks like it."""
    parts = zip(cycle(("{}", "<code>{}</code>")), text.split("`"), strict=False)
    return format_html_join("", "{}", ((format_html(form, part),) for form, part in parts))
