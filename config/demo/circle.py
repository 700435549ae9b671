"""The circle: what the consumers have made of the events, held against the orders' documents."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Document = Mapping[str, Any]

#: What a row of the read model has in common with its order.
ROW = ("customer_id", "status", "total", "currency", "placed_at", "updated_at")
#: While an order is one of these, the stock holds what it ordered.
LIVING = ("placed", "confirmed", "paid")

LETTER = re.compile(r"^Message-ID: <(\S+)>\nX-Order-ID: (\S+)$", re.MULTILINE)


class Letter(NamedTuple):
    """One that was sent, to the customer of this order."""

    message_id: str
    order_id: str


@dataclass
class Circle:
    """What `compare` found. Orders and skus are named by their ids."""

    orders: int = 0
    #: Rows of the read model.
    rows: int = 0
    #: Orders whose row is missing or says something else, and rows of no order.
    differing: list[str] = field(default_factory=list)
    #: Orders that the stock owes an answer.
    awaiting: list[str] = field(default_factory=list)
    #: Orders cancelled because there wasn't enough; that is as it should be.
    out_of_stock: list[str] = field(default_factory=list)
    #: Units that there were, and that there are: on hand, reserved and shipped.
    units_before: int = 0
    units: int = 0
    #: Products with other units than before, or with less than none on hand, reserved or shipped.
    unsound: list[str] = field(default_factory=list)
    #: Units that orders took, and that the stock knows nothing of.
    oversold: int = 0
    #: Units that the stock has reserved or shipped, and that no order took.
    stranded: int = 0
    #: Orders shipped.
    shipped: int = 0
    #: Letters sent, each counted once.
    letters: int = 0
    #: Times that a letter was sent again; sending is at least once, so these are no fault.
    repeats: int = 0
    #: Orders shipped without a letter.
    unwritten: list[str] = field(default_factory=list)
    #: Orders with a letter too many: not shipped, or written to in two different ones.
    overwritten: list[str] = field(default_factory=list)
    dead_letters: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether everything has come to its end, and to the right one."""
        open_ends = (self.differing, self.awaiting, self.unwritten, self.dead_letters)
        wrong = (self.unsound, self.oversold, self.stranded, self.overwritten)
        return not any(open_ends) and not any(wrong)


def compare(
    orders: Iterable[Document],
    *,
    rows: Iterable[Document] = (),
    stock: Iterable[Document] = (),
    units: Mapping[str, int] | None = None,
    letters: Iterable[Letter] = (),
    dead_letters: int = 0,
) -> Circle:
    """Hold it all against the documents of these orders.

    `units` says how many there were of each sku before it was first ordered, by these orders only.
    Letters about other orders don't count.
    """
    known = {order["_id"]: order for order in orders}
    circle = Circle(orders=len(known), dead_letters=dead_letters)
    circle.awaiting = [one for one, order in known.items() if order.get("awaiting")]
    circle.out_of_stock = [one for one, order in known.items() if is_out_of_stock(order)]
    _read_rows(circle, known, {row["_id"]: row for row in rows})
    _count_units(circle, known.values(), {one["_id"]: one for one in stock}, units or {})
    _read_letters(circle, known, letters)
    return circle


def is_out_of_stock(order: Document) -> bool:
    """Whether it was cancelled because there wasn't enough; also of an order from the API."""
    reason: str = order.get("cancel_reason") or ""
    return order["status"] == "cancelled" and reason.endswith("is out of stock")


def letters_in(log: str) -> list[Letter]:
    """The letters among what Django's console backend, and others, have written."""
    return [Letter(*found) for found in LETTER.findall(log)]


def _read_rows(
    circle: Circle, orders: Mapping[str, Document], rows: Mapping[str, Document]
) -> None:
    circle.rows = len(rows)
    circle.differing = [
        one
        for one in {**orders, **rows}
        if one not in orders
        or one not in rows
        or any(orders[one][name] != rows[one].get(name) for name in ROW)
    ]


def _count_units(
    circle: Circle,
    orders: Collection[Document],
    stock: Mapping[str, Document],
    units: Mapping[str, int],
) -> None:
    taken: dict[str, Counter[str]] = {
        "reserved": _units_of(order for order in orders if order["status"] in LIVING),
        "shipped": _units_of(order for order in orders if order["status"] == "shipped"),
    }
    for sku, before in units.items():
        counts = {name: stock.get(sku, {}).get(name, 0) for name in ("on_hand", *taken)}
        circle.units_before += before
        circle.units += sum(counts.values())
        if sum(counts.values()) != before or min(counts.values()) < 0:
            circle.unsound.append(sku)
        for name, by_sku in taken.items():
            circle.oversold += max(0, by_sku[sku] - counts[name])
            circle.stranded += max(0, counts[name] - by_sku[sku])


def _units_of(orders: Iterable[Document]) -> Counter[str]:
    """How many of each sku some orders have among their items."""
    units: Counter[str] = Counter()
    for order in orders:
        for item in order["items"]:
            units[item["sku"]] += item["quantity"]
    return units


def _read_letters(
    circle: Circle, orders: Mapping[str, Document], letters: Iterable[Letter]
) -> None:
    times = Counter(letter for letter in letters if letter.order_id in orders)
    circle.letters = len(times)
    circle.repeats = times.total() - len(times)
    shipped = {one for one, order in orders.items() if order["status"] == "shipped"}
    circle.shipped = len(shipped)
    written = Counter(letter.order_id for letter in times)
    circle.unwritten = sorted(shipped - written.keys())
    circle.overwritten = [
        one for one, different in written.items() if one not in shipped or different > 1
    ]
