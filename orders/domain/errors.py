"""The rules an order or a stock can break, each as the exception that says so.

DomainError
├── InvalidLine        a quantity or price that no line may have
├── InvalidCurrency    not an ISO 4217 code
├── NoLines            an order of nothing
├── TooManyLines       more lines than an order may have
├── TotalTooLarge      more money than an order may be about
├── WrongStatus        too late, or too early, for this
├── InvalidOnHand      a number that no stock may have on hand
└── NotReserved        more than is reserved can't be released or shipped
"""

from outbox import DomainError


class InvalidLine(DomainError):
    """The quantity or the unit price is out of bounds."""


class InvalidCurrency(DomainError):
    """A currency is three upper-case letters, as in ISO 4217."""


class NoLines(DomainError):
    """An order has at least one line."""


class TooManyLines(DomainError):
    """The order has as many lines as it may have."""


class TotalTooLarge(DomainError):
    """The order's total would be larger than it may be."""


class WrongStatus(DomainError):
    """The order's status does not allow this."""


class InvalidOnHand(DomainError):
    """The number on hand is out of bounds."""


class NotReserved(DomainError):
    """The stock has not that many reserved."""
