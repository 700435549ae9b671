"""Commands: what an order or a stock can be asked to do."""

from datetime import UTC, datetime

from pydantic import Field

from orders.domain.line import Line
from outbox import Command


def now() -> datetime:
    """This moment: aware, UTC, in whole milliseconds, as it can be stored."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


# -- The order --


class OrderCommand(Command, name="OrderCommand"):
    """What all have: which order, and when."""

    order_id: str
    at: datetime = Field(default_factory=now)


class PlaceOrder(OrderCommand, name="PlaceOrder"):
    #: Never empty: that is whose orders a user sees who is no customer.
    customer_id: str = Field(min_length=1)
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


class StockAnswer(ChangeOrder, name="StockAnswer"):
    """The stock's answer to one reservation that was asked of it."""

    sku: str
    quantity: int = Field(ge=1)


class NoteReservation(StockAnswer, name="NoteReservation"):
    """It is held."""


class RejectForStock(StockAnswer, name="RejectForStock"):
    """There aren't so many."""


# -- The stock --


class StockCommand(Command, name="StockCommand"):
    """What all have: which stock, and when."""

    sku: str
    at: datetime = Field(default_factory=now)


class SetStock(StockCommand, name="SetStock"):
    """Creates the stock, unless it has to be at an `expected_version` or to be `existing`."""

    on_hand: int
    expected_version: int | None = None
    existing: bool = False


class MoveStock(StockCommand, name="MoveStock"):
    """`quantity` of the stock, for one order."""

    order_id: str
    quantity: int = Field(ge=1)


class ReserveStock(MoveStock, name="ReserveStock"):
    pass


class ReleaseStock(MoveStock, name="ReleaseStock"):
    pass


class ShipStock(MoveStock, name="ShipStock"):
    pass
