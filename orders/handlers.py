"""Command handlers: load, act, save. Each returns the order as it was saved."""

from orders.domain import commands
from orders.domain.order import Order
from orders.repository import OrderRepository


class OrderHandlers:
    """The handlers of an order's commands, over the repository that keeps the orders."""

    def __init__(self, orders: OrderRepository) -> None:
        self.orders = orders

    def place(self, command: commands.PlaceOrder) -> Order:
        order = Order.place(
            command.order_id,
            customer_id=command.customer_id,
            currency=command.currency,
            lines=command.lines,
            at=command.at,
        )
        self.orders.add(order)
        return order

    def add_item(self, command: commands.AddItem) -> Order:
        order = self._load(command)
        order.add_item(command.line, at=command.at)
        return self._save(order)

    def pay(self, command: commands.PayOrder) -> Order:
        order = self._load(command)
        order.pay(command.payment_reference, at=command.at)
        return self._save(order)

    def ship(self, command: commands.ShipOrder) -> Order:
        order = self._load(command)
        order.ship(command.carrier, command.tracking_number, at=command.at)
        return self._save(order)

    def cancel(self, command: commands.CancelOrder) -> Order:
        order = self._load(command)
        order.cancel(command.reason, at=command.at)
        return self._save(order)

    def _load(self, command: commands.ChangeOrder) -> Order:
        return self.orders.get(command.order_id, expected_version=command.expected_version)

    def _save(self, order: Order) -> Order:
        self.orders.save(order)
        return order
