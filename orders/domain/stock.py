"""The stock: an aggregate that counts one product: on hand, reserved for orders, and shipped."""

from datetime import datetime

from orders.domain import events
from orders.domain.errors import InvalidOnHand, NotReserved
from outbox import Aggregate

MAX_ON_HAND = 1_000_000_000


class Stock(Aggregate):
    """How many there are of the product whose sku is its `id`.

    `on_hand` is what can be reserved, `reserved` is held for orders, `shipped` has left. None of
    them is ever negative, and only `set` changes their sum. Which order holds how many is the
    orders' to know.
    """

    def __init__(self, id: str, *, on_hand: int = 0, reserved: int = 0, shipped: int = 0) -> None:
        super().__init__(id)
        self.on_hand = on_hand
        self.reserved = reserved
        self.shipped = shipped

    def set(self, on_hand: int, *, at: datetime) -> None:
        """Take the number on hand from a count; what is reserved or shipped stays."""
        if not 0 <= on_hand <= MAX_ON_HAND:
            raise InvalidOnHand(f"A number on hand is from 0 to {MAX_ON_HAND:,}.")
        self.on_hand = on_hand
        self.record(events.StockSet(on_hand=on_hand, occurred_at=at))

    def reserve(self, order_id: str, quantity: int, *, at: datetime) -> None:
        """Hold `quantity` for an order; if there aren't so many, say so and hold nothing."""
        if quantity > self.on_hand:
            self.record(
                events.StockInsufficient(
                    order_id=order_id, quantity=quantity, on_hand=self.on_hand, occurred_at=at
                )
            )
            return
        self.on_hand -= quantity
        self.reserved += quantity
        self.record(events.StockReserved(order_id=order_id, quantity=quantity, occurred_at=at))

    def release(self, order_id: str, quantity: int, *, at: datetime) -> None:
        """Have `quantity` on hand again that was held for an order. Raises `NotReserved`."""
        self._take(quantity)
        self.on_hand += quantity
        self.record(events.StockReleased(order_id=order_id, quantity=quantity, occurred_at=at))

    def ship(self, order_id: str, quantity: int, *, at: datetime) -> None:
        """Let `quantity` go that was held for an order. Raises `NotReserved`."""
        self._take(quantity)
        self.shipped += quantity
        self.record(events.StockShipped(order_id=order_id, quantity=quantity, occurred_at=at))

    def _take(self, quantity: int) -> None:
        if quantity > self.reserved:
            raise NotReserved(f"Of {self.id}, {self.reserved:,} are reserved, not {quantity:,}.")
        self.reserved -= quantity
