"""Serializers: the bodies that the HTTP API takes and gives, and the parameters of lists.

Pydantic models: what is validated is what the OpenAPI schema says. Types are strict (a number is no
string, and `true` no number), and a field that isn't named here is refused.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from orders.domain.line import MAX_QUANTITY, MAX_UNIT_PRICE
from orders.domain.order import MAX_LINES
from orders.domain.stock import MAX_ON_HAND
from orders.queries import STATUSES

PRICE = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")


def _price(value: Any) -> Decimal:
    """A decimal string, or a JSON number, which the parser has made an int or a Decimal."""
    if isinstance(value, str) and PRICE.fullmatch(value):
        return Decimal(value)
    if (
        isinstance(value, (int, Decimal))
        and not isinstance(value, bool)
        and 0 <= value <= MAX_UNIT_PRICE
        and value == round(Decimal(value), 2)
    ):
        return abs(round(Decimal(value), 2))
    raise ValueError(f"a decimal string from 0.00 to {MAX_UNIT_PRICE}, with at most two places")


Price = Annotated[
    Decimal,
    BeforeValidator(_price),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{PRICE.pattern}$"},
                {
                    "type": "number",
                    "minimum": 0,
                    "maximum": float(MAX_UNIT_PRICE),
                    "multipleOf": 0.01,
                },
            ],
            "description": "Better a string, which no client's floating point can spoil.",
            "examples": ["49.99"],
        }
    ),
]


def _whole(value: Any) -> Any:
    """2.0 is an integer to JSON Schema, and so to whoever reads ours."""
    if isinstance(value, Decimal) and 0 <= value <= MAX_ON_HAND and value == int(value):
        return int(value)
    return value


Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY), BeforeValidator(_whole)]
OnHand = Annotated[int, Field(ge=0, le=MAX_ON_HAND), BeforeValidator(_whole)]
#: Visible ASCII without a slash: can stand in a path.
NAME = r"[A-Za-z0-9][!-.0-~]{0,63}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
#: One line, with something to see in it.
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")]
Reference = Annotated[Text, Field(max_length=100)]
Amount = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{2}$")]


class Body(BaseModel):
    """What a client sends: the fields of a command."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def fields(self) -> dict[str, Any]:
        """The command's fields, by the command's names."""
        return self.model_dump()


class ItemBody(Body):
    sku: Name
    quantity: Quantity
    unit_price: Price


class PlaceOrderBody(Body):
    customer_id: Name
    currency: str = Field(pattern="^[A-Z]{3}$", description="ISO 4217.", examples=["USD"])
    items: list[ItemBody] = Field(min_length=1, max_length=MAX_LINES)

    def fields(self) -> dict[str, Any]:
        fields = self.model_dump()
        return fields | {"lines": fields.pop("items")}


class AddItemBody(ItemBody):
    def fields(self) -> dict[str, Any]:
        return {"line": self.model_dump()}


class PayOrderBody(Body):
    payment_reference: Reference


class ShipOrderBody(Body):
    carrier: Reference
    tracking_number: Reference


class CancelOrderBody(Body):
    reason: Annotated[Text, Field(max_length=500)]


class SetStockBody(Body):
    on_hand: OnHand


class PageParameters(Body):
    cursor: str | None = None


class ListParameters(PageParameters):
    customer_id: str | None = None
    status: Literal[STATUSES] | None = None  # type: ignore[valid-type]


class OrderItem(BaseModel):
    sku: str
    quantity: int
    unit_price: Amount


class Order(BaseModel):
    """An order, as every operation on one answers it."""

    order_id: str
    customer_id: str
    currency: str
    status: Literal[STATUSES]  # type: ignore[valid-type]
    items: list[OrderItem]
    total: Amount
    payment_reference: str | None
    carrier: str | None
    tracking_number: str | None
    cancel_reason: str | None
    refund_due: bool = Field(description="It was paid, and then cancelled.")
    awaiting_stock: bool = Field(description="The stock has not answered for all of it yet.")
    placed_at: str = Field(json_schema_extra={"format": "date-time"})
    updated_at: str = Field(json_schema_extra={"format": "date-time"})
    version: int


class OrderPage(BaseModel):
    """One page, newest first. `next` is the `cursor` of the page after it."""

    results: list[Order]
    next: str | None


class CustomerOrder(BaseModel):
    """An order in the list of its customer's, as current as the published events are."""

    order_id: str
    status: Literal[STATUSES]  # type: ignore[valid-type]
    total: Amount
    currency: str
    placed_at: str = Field(json_schema_extra={"format": "date-time"})
    updated_at: str = Field(json_schema_extra={"format": "date-time"})


class CustomerOrderPage(BaseModel):
    """One page, newest first. `next` is the `cursor` of the page after it."""

    results: list[CustomerOrder]
    next: str | None


class Stock(BaseModel):
    """A product's stock: what can be reserved, what is held for orders, and what has left."""

    sku: str
    on_hand: int
    reserved: int
    shipped: int
    version: int
