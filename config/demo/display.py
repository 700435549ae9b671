"""The display: orders, their events and what follows, live on a terminal, else line by line."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from config.demo.circle import Circle
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
        table.add_column("state", min_width=34)
        table.add_column("events", min_width=28)
        table.add_column("commit to stream", justify="right")
        for order_id, states in list(self._customers.orders.items())[-self._rows :]:
            progress = self._observer.progress[order_id]
            events = f"[green]{progress.dispatched} dispatched[/]"
            if progress.pending:
                events = f"[yellow]{progress.pending} pending[/] → {events}"
            table.add_row(order_id[-8:], course(states, progress), events, delays(progress))
        self._live.update(table, refresh=True)


class Lines:
    """A line for each order when it waits for nothing any more, and how things stand."""

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
            if progress.dispatched and not progress.pending and not progress.awaits_stock:
                self._shown.add(order_id)
                states = course(self._customers.orders[order_id], progress)
                self._line(
                    f"  order …{order_id[-8:]}  {states:<40}  pending → "
                    f"{progress.dispatched:>2} dispatched, {delays(progress)}"
                )
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 2
            self._line(headline(self._customers, self._observer))

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def headline(customers: Customers, observer: Observer) -> str:
    circle = observer.circle
    return (
        f"{len(customers.orders)} of {customers.count} orders · {customers.commands} commands · "
        f"events: {observer.pending} pending, {observer.dispatched} dispatched · "
        f"read model: {circle.orders - len(circle.differing)} of {circle.orders} up to date · "
        f"letters: {circle.shipped - len(circle.unwritten)} of {circle.shipped}"
    )


def course(states: list[str], progress: Progress) -> str:
    """An order's states as its customer saw them, and what the stock has made of it since."""
    latest = [progress.status] if progress.status and progress.status not in states else []
    note = " (awaits stock)" if progress.awaits_stock else ""
    if progress.out_of_stock:
        note = " (no stock)"
    return " → ".join([*states, *latest]) + note


def delays(progress: Progress) -> str:
    """The shortest and the longest time that an order's events took."""
    if not progress.delays:
        return ""
    return f"{min(progress.delays):.0f} to {max(progress.delays):.0f} ms"


def account(history: History, circle: Circle, commands: int) -> Table:
    """The table at the end."""
    table = Table(show_header=False, title="What became of it all", title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column()
    conserved = "not all of them" if circle.unsound else "each as it was set"
    published = [
        ("orders", circle.orders, f"by {commands} commands"),
        ("events expected from documents", history.expected, "their outbox.sequences"),
        ("events on the streams", history.published, "each counted once"),
        ("missing", len(history.missing), ""),
        ("out of order", len(history.out_of_order), "per document and stream"),
        ("invented", len(history.invented), "on a stream, not in a document"),
        ("duplicates", history.duplicates, "same event id twice, no harm"),
        ("commit to stream, p50", _milliseconds(history.delay(50)), ""),
        ("commit to stream, p99", _milliseconds(history.delay(99)), "worker's death included"),
    ]
    consumed = [
        ("rows of the read model", circle.rows, "customer_orders"),
        ("that differ from their orders", len(circle.differing), ""),
        ("units of stock set", circle.units_before, "before the first order"),
        ("on hand + reserved + shipped", circle.units, conserved),
        ("oversold", circle.oversold, "units that orders have too many"),
        ("held for nobody", circle.stranded, "units that no order has"),
        ("orders out of stock", len(circle.out_of_stock), "cancelled, as they should be"),
        ("orders shipped", circle.shipped, ""),
        ("letters about them", circle.letters, "each counted once"),
        ("letters sent again", circle.repeats, "same Message-ID, no harm"),
        ("dead letters", circle.dead_letters, "events that a consumer gave up"),
    ]
    for rows in (published, consumed):
        for what, count, note in rows:
            table.add_row(what, str(count), note)
        table.add_section()
    return table


def _milliseconds(delay: float | None) -> str:
    return "none" if delay is None else f"{delay:.0f} ms"
