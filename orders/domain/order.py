"""The order: an aggregate that is placed, then paid, then shipped; or cancelled before that.

Where a product's stock is managed, the order waits for it before it is shipped: with all of it held
it is confirmed, and without it cancelled.
"""

import re
from collections.abc import Collection, Iterable
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
from orders.domain.reservation import Reservation, summed
from outbox import Aggregate

CURRENCY = re.compile(r"[A-Z]{3}")
MAX_LINES = 100
#: Below a thousand million, an amount in cents survives as a JSON number wherever it is read.
MAX_TOTAL = Decimal("999999999.99")


class Status(StrEnum):
    PLACED = "placed"
    #: All that it awaited of the stock is held; not paid yet.
    CONFIRMED = "confirmed"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Order(Aggregate):
    """What one customer ordered, and how far it has come.

    Has 1 to 100 lines and a total of at most 999,999,999.99. A product that is ordered again has a
    line of its own again. `placed_at` and `updated_at` are aware and UTC.

    `awaiting` is what the stock was asked for and has not answered yet, one entry for each time
    that it was asked; `reserved` is what it holds, one entry for each sku.

    What a customer asks for raises a `DomainError`, and changes nothing, where a rule says no.
    The stock's answers are always taken: they may come after anything.
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
        awaiting: Iterable[Reservation] = (),
        reserved: Iterable[Reservation] = (),
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
        self.awaiting = tuple(awaiting)
        self.reserved = tuple(reserved)

    @classmethod
    def place(
        cls,
        id: str,
        *,
        customer_id: str,
        currency: str,
        lines: Iterable[Line],
        managed: Collection[str] = (),
        at: datetime,
    ) -> "Order":
        """A new order, which awaits the stock of what is `managed` of its products."""
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
        order.awaiting = _to_reserve(order.lines, managed)
        order.record(
            events.OrderPlaced(
                lines=order.lines, total=order.total, reserve=order.awaiting, occurred_at=at
            )
        )
        return order

    @property
    def total(self) -> Decimal:
        """The sum of the lines, with two places."""
        return _total(self.lines)

    @property
    def refund_due(self) -> bool:
        """Whether it was paid for nothing."""
        return self.status is Status.CANCELLED and self.payment_reference is not None

    def add_item(self, line: Line, *, managed: Collection[str] = (), at: datetime) -> None:
        """Put a line at the end, and await its stock if that is `managed`; only until paid."""
        self._only(Status.PLACED, Status.CONFIRMED, to="have items added")
        self.lines, self.updated_at = _checked((*self.lines, line)), at
        reserve = _to_reserve([line], managed)
        self.awaiting += reserve
        self.record(events.ItemAdded(line=line, total=self.total, reserve=reserve, occurred_at=at))

    def pay(self, payment_reference: str, *, at: datetime) -> None:
        """Note the payment that covers the order."""
        self._only(Status.PLACED, Status.CONFIRMED, to="be paid")
        self.status, self.updated_at = Status.PAID, at
        self.payment_reference = payment_reference
        self.record(
            events.OrderPaid(payment_reference=payment_reference, total=self.total, occurred_at=at)
        )

    def ship(self, carrier: str, tracking_number: str, *, at: datetime) -> None:
        """Hand the order to the carrier, with all that was reserved for it."""
        self._only(Status.PAID, to="be shipped")
        if self.awaiting:
            raise WrongStatus("An order that waits for its stock can't be shipped.")
        self.status, self.updated_at = Status.SHIPPED, at
        self.carrier, self.tracking_number = carrier, tracking_number
        reserved, self.reserved = self.reserved, ()
        self.record(
            events.OrderShipped(
                lines=self.lines,
                carrier=carrier,
                tracking_number=tracking_number,
                reserved=reserved,
                occurred_at=at,
            )
        )

    def cancel(self, reason: str, *, at: datetime) -> None:
        """Call the order off; only until it is shipped."""
        self._only(Status.PLACED, Status.CONFIRMED, Status.PAID, to="be cancelled")
        self.status, self.updated_at = Status.CANCELLED, at
        self.cancel_reason = reason
        # What is still awaited is dropped when it comes.
        reserved, self.reserved = self.reserved, ()
        self.record(
            events.OrderCancelled(
                lines=self.lines,
                reason=reason,
                total=self.total,
                payment_reference=self.payment_reference,
                reserved=reserved,
                occurred_at=at,
            )
        )

    def note_reservation(self, sku: str, quantity: int, *, at: datetime) -> None:
        """Take what the stock holds for the order; drop what the order has no use for.

        With the last that was awaited, the order is confirmed.
        """
        awaited = self._answered(sku, quantity)
        if self.status is Status.CANCELLED or not awaited:
            self.record(events.ReservationDropped(sku=sku, quantity=quantity, occurred_at=at))
            return
        self.reserved = summed([*self.reserved, Reservation(sku=sku, quantity=quantity)])
        if self.awaiting:
            return
        if self.status is Status.PLACED:
            self.status = Status.CONFIRMED
        self.updated_at = at
        self.record(events.OrderConfirmed(status=self.status.value, occurred_at=at))

    def reject_for_stock(self, sku: str, quantity: int, *, at: datetime) -> None:
        """Cancel the order, paid or not, for what the stock doesn't have."""
        if self._answered(sku, quantity) and self.status is not Status.CANCELLED:
            self.cancel(f"{sku} is out of stock", at=at)

    def _answered(self, sku: str, quantity: int) -> bool:
        """Await an answer no longer; whether it was awaited."""
        asked = Reservation(sku=sku, quantity=quantity)
        if asked not in self.awaiting:
            return False
        awaiting = list(self.awaiting)
        awaiting.remove(asked)
        self.awaiting = tuple(awaiting)
        return True

    def _only(self, *allowed: Status, to: str) -> None:
        if self.status not in allowed:
            raise WrongStatus(f"An order that is {self.status} can't {to}.")


def _to_reserve(lines: Iterable[Line], managed: Collection[str]) -> tuple[Reservation, ...]:
    return summed(
        Reservation(sku=line.sku, quantity=line.quantity) for line in lines if line.sku in managed
    )


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
