"""The display: the orders and their events as they go, live on a terminal, else line by line."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from config.demo.customers import Customers
from config.demo.history import History
from config.demo.observer import Observer, Progress


class Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self) -> None:
        """Bring what is seen up to date."""


def display(console: Console, customers: Customers, observer: Observer) -> Display:
    kind = LiveTable if console.is_terminal else Lines
    return kind(console, customers, observer)


class LiveTable:
    """A table of the latest orders that changes in place."""

    def __init__(self, console: Console, customers: Customers, observer: Observer) -> None:
        self._customers, self._observer = customers, observer
        self._rows = max(5, min(20, console.height - 12))
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self) -> None:
        table = Table(title=headline(self._customers, self._observer), title_justify="left")
        table.add_column("order", min_width=8)
        table.add_column("state", min_width=24)
        table.add_column("events", min_width=28)
        table.add_column("commit to stream", justify="right")
        for order_id, states in list(self._customers.orders.items())[-self._rows :]:
            progress = self._observer.progress[order_id]
            events = f"[green]{progress.dispatched} dispatched[/]"
            if progress.pending:
                events = f"[yellow]{progress.pending} pending[/] → {events}"
            table.add_row(order_id[-8:], " → ".join(states), events, delays(progress))
        self._live.update(table, refresh=True)


class Lines:
    """A line for each order once all its events are on the streams, and how things stand."""

    def __init__(self, console: Console, customers: Customers, observer: Observer) -> None:
        self._console, self._customers, self._observer = console, customers, observer
        self._shown: set[str] = set()
        self._next = time.monotonic() + 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.show()

    def show(self) -> None:
        for order_id in sorted(self._customers.done - self._shown):
            progress = self._observer.progress[order_id]
            if progress.dispatched and not progress.pending:
                self._shown.add(order_id)
                states = " → ".join(self._customers.orders[order_id])
                self._line(
                    f"  order …{order_id[-8:]}  {states:<26}  pending → "
                    f"{progress.dispatched:>2} dispatched, {delays(progress)}"
                )
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 2
            self._line(headline(self._customers, self._observer))

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def headline(customers: Customers, observer: Observer) -> str:
    return (
        f"{len(customers.orders)} of {customers.count} orders · {customers.commands} commands · "
        f"events: {observer.pending} pending, {observer.dispatched} dispatched"
    )


def delays(progress: Progress) -> str:
    """The shortest and the longest time that an order's events took."""
    if not progress.delays:
        return ""
    return f"{min(progress.delays):.0f} to {max(progress.delays):.0f} ms"


def account(history: History, commands: int) -> Table:
    """The table at the end."""
    table = Table(show_header=False, title="What became of it all", title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column()
    rows = [
        ("orders", history.orders, f"by {commands} commands"),
        ("events expected from documents", history.expected, "their outbox.sequences"),
        ("events on the streams", history.published, "each counted once"),
        ("missing", len(history.missing), ""),
        ("out of order", len(history.out_of_order), "per order and stream"),
        ("invented", len(history.invented), "on a stream, not in a document"),
        ("duplicates", history.duplicates, "same event id twice, no harm"),
        ("commit to stream, p50", _milliseconds(history.delay(50)), ""),
        ("commit to stream, p99", _milliseconds(history.delay(99)), "worker's death included"),
    ]
    for what, count, note in rows:
        table.add_row(what, str(count), note)
    return table


def _milliseconds(delay: float | None) -> str:
    return "none" if delay is None else f"{delay:.0f} ms"
