"""Commands: what an order can be asked to do."""

from datetime import UTC, datetime

from pydantic import Field

from orders.domain.line import Line
from outbox import Command


def now() -> datetime:
    """This moment: aware, UTC, in whole milliseconds, as it can be stored."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class OrderCommand(Command, name="OrderCommand"):
    """What all have: which order, and when."""

    order_id: str
    at: datetime = Field(default_factory=now)


class PlaceOrder(OrderCommand, name="PlaceOrder"):
    customer_id: str
    currency: str
    lines: tuple[Line, ...]


class ChangeOrder(OrderCommand, name="ChangeOrder"):
    """`expected_version` is the one the order has to be at; None takes it as it is."""

    expected_version: int | None = None


class AddItem(ChangeOrder, name="AddItem"):
    line: Line


class PayOrder(ChangeOrder, name="PayOrder"):
    payment_reference: str


class ShipOrder(ChangeOrder, name="ShipOrder"):
    carrier: str
    tracking_number: str


class CancelOrder(ChangeOrder, name="CancelOrder"):
    reason: str
