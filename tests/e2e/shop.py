"""A shop under load: clients that order, pay, ship and cancel, and what must be true of it all."""

import random
import threading
import time
import uuid
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx

from config.demo import circle, staff

CLIENTS = 8
#: Answered so, or not at all, a request is repeated with its `Idempotency-Key`.
AGAIN = (409, 503)
PATIENCE = 60


class Shop:
    """Has so many on hand of each of these products, under skus that nobody had before.

    `orders` has the last answer about each order that was placed.
    """

    def __init__(self, running, **on_hand):
        self.running = running
        suffix = uuid.uuid4().hex[:6]
        self.skus = {name: f"{name}-{suffix}" for name in on_hand}
        stock = {self.skus[name]: number for name, number in on_hand.items()}
        self.units = staff.set_stock(*running.address, stock)
        self.orders = {}
        self.repeated = Counter()
        self._to_ship = deque()
        self._closing = threading.Event()

    @contextmanager
    def open(self):
        """Eight clients at once, for as long as the block lasts."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._client) for _ in range(CLIENTS)]
            try:
                yield
            finally:
                self._closing.set()
            for client in clients:
                client.result()
        self._closing.clear()

    def place(self, *lines):
        """The id of an order of these (product, quantity) lines; others aren't managed."""
        items = [self._item(name, quantity) for name, quantity in lines]
        body = {"customer_id": "cust-1", "currency": "EUR", "items": items}
        order = self._send("", body).raise_for_status().json()
        self.orders[order["order_id"]] = order
        return order["order_id"]

    def command(self, order_id, command, **body):
        """Whether it was taken; it may be refused only because of the stock."""
        answer = self._send(f"{order_id}/{command}/", body)
        if answer.status_code == 422:
            order = self.get(order_id)
            refused = circle.is_out_of_stock(order) or "waits for its stock" in answer.text
            assert refused, (answer.text, order)
            return False
        self.orders[order_id] = answer.raise_for_status().json()
        return True

    def pay(self, order_id):
        return self.command(order_id, "pay", payment_reference="p-1")

    def ship(self, order_id, within=3.0):
        """Ship it once it has its stock, if it has within so many seconds."""
        deadline = time.monotonic() + within
        while self.get(order_id)["awaiting_stock"] and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.command(order_id, "ship", carrier="DHL", tracking_number="t-1")

    def cancel(self, order_id):
        return self.command(order_id, "cancel", reason="changed my mind")

    def get(self, order_id):
        return self._until_answered("GET", f"{order_id}/").raise_for_status().json()

    def check(self, within=PATIENCE):
        """Wait until nothing is on its way; then all there is has to be right. The circle."""
        running = self.running
        running.until_quiet(within)
        orders = {order["_id"]: order for order in running.documents.find()}
        stock = list(running.database["stock"].find())
        assert orders.keys() == self.orders.keys()
        for order_id, order in orders.items():
            assert order["version"] >= self.orders[order_id]["version"]
            refund = order["status"] == "cancelled" and "payment_reference" in order
            assert order.get("refund_due", False) == refund
        found = circle.compare(
            orders.values(),
            rows=running.database["customer_orders"].find(),
            stock=stock,
            units=self.units,
            letters=running.letters(),
            dead_letters=running.database["outbox_dead_letters"].count_documents({}),
        )
        assert found.is_closed, found
        held = Counter()
        for order in orders.values():
            held.update({one["sku"]: one["quantity"] for one in order.get("reserved", ())})
        assert {one["_id"]: one["reserved"] for one in stock if one["reserved"]} == held
        for document in (*orders.values(), *stock):
            handled = document["outbox"]["handled"]
            assert len(handled) == len(set(handled)), document
        running.check()
        return found

    def _client(self):
        while not self._closing.is_set():
            self._ship_one()
            order_id = self.place(*self._choice(random.randint(1, 3)))
            self._pause()
            if random.random() < 0.3:
                name, quantity = self._choice(1)[0]
                if not self.command(order_id, "items", **self._item(name, quantity)):
                    continue
            course = random.random()
            if course < 0.2:
                self.cancel(order_id)
            elif course < 0.9 and self.pay(order_id):
                self._pause()
                if course < 0.4:
                    self.cancel(order_id)
                elif course < 0.8:
                    self._to_ship.append(order_id)

    def _ship_one(self):
        """Ship what was paid for longest, if it has its stock by now."""
        with suppress(IndexError):
            order_id = self._to_ship.popleft()
            shipped = self.ship(order_id, within=0)
            if not shipped and not circle.is_out_of_stock(self.get(order_id)):
                self._to_ship.append(order_id)

    def _pause(self):
        time.sleep(random.uniform(0.0, 0.3))

    def _choice(self, count):
        names = [*self.skus, "WIDGET-01"]
        return [(random.choice(names), random.randint(1, 3)) for _ in range(count)]

    def _item(self, name, quantity):
        return {"sku": self.skus.get(name, name), "quantity": quantity, "unit_price": "9.99"}

    def _send(self, path, body):
        return self._until_answered("POST", path, json=body)

    def _until_answered(self, method, path, **content):
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = None
            try:
                answer = self.running.client.request(
                    method, f"/api/orders/{path}", headers=headers, **content
                )
            except httpx.TransportError as error:
                self.repeated[type(error).__name__] += 1
            if answer is not None and answer.status_code not in AGAIN:
                return answer
            if answer is not None:
                self.repeated[answer.status_code] += 1
            assert time.monotonic() < deadline, (
                method,
                path,
                self.repeated,
                answer and answer.text,
            )
            time.sleep(0.2)
