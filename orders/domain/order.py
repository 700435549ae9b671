"""The order: an aggregate that is placed, then paid, then shipped; or cancelled before that."""

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from orders.domain import events
from orders.domain.errors import (
    InvalidCurrency,
    NoLines,
    TooManyLines,
    TotalTooLarge,
    WrongStatus,
)
from orders.domain.line import CENT, Line
from outbox import Aggregate

CURRENCY = re.compile(r"[A-Z]{3}")
MAX_LINES = 100
#: Below a thousand million, an amount in cents survives as a JSON number wherever it is read.
MAX_TOTAL = Decimal("999999999.99")


class Status(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Order(Aggregate):
    """What one customer ordered, and how far it has come.

    Has 1 to 100 lines and a total of at most 999,999,999.99. A product that is ordered again has a
    line of its own again. `placed_at` and `updated_at` are aware and UTC.

    Every method raises a `DomainError`, and changes nothing, where a rule says no.
    """

    def __init__(
        self,
        id: str,
        *,
        customer_id: str,
        currency: str,
        lines: Iterable[Line],
        placed_at: datetime,
        updated_at: datetime,
        status: Status = Status.PLACED,
        payment_reference: str | None = None,
        carrier: str | None = None,
        tracking_number: str | None = None,
        cancel_reason: str | None = None,
    ) -> None:
        super().__init__(id)
        self.customer_id = customer_id
        self.currency = currency
        self.lines = tuple(lines)
        self.placed_at = placed_at
        self.updated_at = updated_at
        self.status = status
        self.payment_reference = payment_reference
        self.carrier = carrier
        self.tracking_number = tracking_number
        self.cancel_reason = cancel_reason

    @classmethod
    def place(
        cls, id: str, *, customer_id: str, currency: str, lines: Iterable[Line], at: datetime
    ) -> "Order":
        """A new order."""
        if not CURRENCY.fullmatch(currency):
            raise InvalidCurrency()
        order = cls(
            id,
            customer_id=customer_id,
            currency=currency,
            lines=_checked(lines),
            placed_at=at,
            updated_at=at,
        )
        order.record(events.OrderPlaced(lines=order.lines, total=order.total))
        return order

    @property
    def total(self) -> Decimal:
        """The sum of the lines, with two places."""
        return _total(self.lines)

    def add_item(self, line: Line, *, at: datetime) -> None:
        """Put a line at the end; only until the order is paid."""
        self._only(Status.PLACED, to="have items added")
        self.lines, self.updated_at = _checked((*self.lines, line)), at
        self.record(events.ItemAdded(line=line, total=self.total))

    def pay(self, payment_reference: str, *, at: datetime) -> None:
        """Note the payment that covers the order."""
        self._only(Status.PLACED, to="be paid")
        self.status, self.updated_at = Status.PAID, at
        self.payment_reference = payment_reference
        self.record(events.OrderPaid(payment_reference=payment_reference, total=self.total))

    def ship(self, carrier: str, tracking_number: str, *, at: datetime) -> None:
        """Hand the order to the carrier."""
        self._only(Status.PAID, to="be shipped")
        self.status, self.updated_at = Status.SHIPPED, at
        self.carrier, self.tracking_number = carrier, tracking_number
        self.record(
            events.OrderShipped(lines=self.lines, carrier=carrier, tracking_number=tracking_number)
        )

    def cancel(self, reason: str, *, at: datetime) -> None:
        """Call the order off; only until it is shipped."""
        self._only(Status.PLACED, Status.PAID, to="be cancelled")
        self.status, self.updated_at = Status.CANCELLED, at
        self.cancel_reason = reason
        self.record(
            events.OrderCancelled(
                lines=self.lines,
                reason=reason,
                total=self.total,
                payment_reference=self.payment_reference,
            )
        )

    def _only(self, *allowed: Status, to: str) -> None:
        if self.status not in allowed:
            raise WrongStatus(f"An order that is {self.status} can't {to}.")


def _total(lines: Iterable[Line]) -> Decimal:
    return sum((line.amount for line in lines), start=Decimal(0)).quantize(CENT)


def _checked(lines: Iterable[Line]) -> tuple[Line, ...]:
    checked = tuple(lines)
    if not checked:
        raise NoLines()
    if len(checked) > MAX_LINES:
        raise TooManyLines(f"An order has at most {MAX_LINES} lines.")
    if _total(checked) > MAX_TOTAL:
        raise TotalTooLarge(f"An order's total is at most {MAX_TOTAL:,}.")
    return checked
