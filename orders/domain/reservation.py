"""The reservation: so many of one product, asked of the stock or held there."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """`quantity` of the product `sku`, for one order."""

    sku: str
    quantity: int


def summed(reservations: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """The reservations with one of each sku, in the order in which the skus first come."""
    quantities: dict[str, int] = {}
    for one in reservations:
        quantities[one.sku] = quantities.get(one.sku, 0) + one.quantity
    return tuple(Reservation(sku=sku, quantity=total) for sku, total in quantities.items())
