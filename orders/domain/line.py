"""The line: so many of one product, at one price."""

from dataclasses import dataclass
from decimal import Decimal

from orders.domain.errors import InvalidLine

CENT = Decimal("0.01")
MAX_QUANTITY = 10_000
MAX_UNIT_PRICE = Decimal("99999999.99")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an order.

    `quantity` is 1 to 10,000; `unit_price` is in the order's currency, 0.00 (a gift) to
    99,999,999.99, in whole cents, and always kept with two places. Raises `InvalidLine`.
    """

    sku: str
    quantity: int
    unit_price: Decimal

    def __post_init__(self) -> None:
        price = self.unit_price
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise InvalidLine(f"A quantity is from 1 to {MAX_QUANTITY:,}, not {self.quantity:,}.")
        if not (price.is_finite() and 0 <= price <= MAX_UNIT_PRICE):
            raise InvalidLine(f"A unit price is from 0.00 to {MAX_UNIT_PRICE:,}.")
        if price != price.quantize(CENT):
            raise InvalidLine("A unit price is in whole cents.")
        object.__setattr__(self, "unit_price", abs(price.quantize(CENT)))

    @property
    def amount(self) -> Decimal:
        """Quantity times unit price."""
        return self.quantity * self.unit_price
