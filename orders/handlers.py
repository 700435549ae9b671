"""Command handlers: load, act, save. Each returns the aggregate as it was saved."""

from collections.abc import Callable, Iterable

from orders.domain import commands
from orders.domain.order import Order
from orders.domain.stock import Stock
from orders.repository import OrderRepository, StockRepository
from outbox import AggregateAlreadyExists, AggregateNotFound, ConcurrencyError, StaleVersion


class OrderHandlers:
    """The handlers of an order's commands, over the repository that keeps the orders.

    `managed` says of which skus there is a stock to reserve from.
    """

    def __init__(
        self, orders: OrderRepository, *, managed: Callable[[Iterable[str]], set[str]]
    ) -> None:
        self.orders = orders
        self.managed = managed

    def place(self, command: commands.PlaceOrder) -> Order:
        order = Order.place(
            command.order_id,
            customer_id=command.customer_id,
            currency=command.currency,
            lines=command.lines,
            managed=self.managed(line.sku for line in command.lines),
            at=command.at,
        )
        self.orders.add(order)
        return order

    def add_item(self, command: commands.AddItem) -> Order:
        order = self._load(command)
        order.add_item(command.line, managed=self.managed([command.line.sku]), at=command.at)
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

    def note_reservation(self, command: commands.NoteReservation) -> Order:
        order = self._load(command)
        order.note_reservation(command.sku, command.quantity, at=command.at)
        return self._save(order)

    def reject_for_stock(self, command: commands.RejectForStock) -> Order:
        order = self._load(command)
        order.reject_for_stock(command.sku, command.quantity, at=command.at)
        return self._save(order)

    def _load(self, command: commands.ChangeOrder) -> Order:
        return self.orders.get(command.order_id, expected_version=command.expected_version)

    def _save(self, order: Order) -> Order:
        self.orders.save(order)
        return order


class StockHandlers:
    """The handlers of a stock's commands, over the repository that keeps the stock."""

    def __init__(self, stocks: StockRepository) -> None:
        self.stocks = stocks

    def set(self, command: commands.SetStock) -> Stock:
        try:
            stock = self.stocks.get(command.sku, expected_version=command.expected_version)
        except AggregateNotFound as error:
            if command.existing or command.expected_version is not None:
                raise StaleVersion(str(error)) from None
            return self._create(command)
        stock.set(command.on_hand, at=command.at)
        return self._save(stock)

    def reserve(self, command: commands.ReserveStock) -> Stock:
        stock = self.stocks.get(command.sku)
        stock.reserve(command.order_id, command.quantity, at=command.at)
        return self._save(stock)

    def release(self, command: commands.ReleaseStock) -> Stock:
        stock = self.stocks.get(command.sku)
        stock.release(command.order_id, command.quantity, at=command.at)
        return self._save(stock)

    def ship(self, command: commands.ShipStock) -> Stock:
        stock = self.stocks.get(command.sku)
        stock.ship(command.order_id, command.quantity, at=command.at)
        return self._save(stock)

    def _create(self, command: commands.SetStock) -> Stock:
        stock = Stock(command.sku)
        stock.set(command.on_hand, at=command.at)
        try:
            self.stocks.add(stock)
        except AggregateAlreadyExists as error:
            # Somebody else created it just now: the bus runs this again, and finds it.
            raise ConcurrencyError(str(error)) from error
        return stock

    def _save(self, stock: Stock) -> Stock:
        self.stocks.save(stock)
        return stock
