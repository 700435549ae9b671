"""The customers: they place orders over HTTP and see them through, several at a time."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from config.demo.circle import is_out_of_stock

CARRIERS = ("DHL", "UPS", "La Poste")

#: What becomes of an order once it is placed; each customer takes the next of these in turn.
COURSES = (
    ("pay", "ship"),
    ("items", "pay", "ship"),
    ("cancel",),
    ("items", "items", "pay", "ship"),
    ("pay",),
    ("items",),
    ("pay", "cancel"),
    ("items", "pay", "ship"),
)

#: Seconds that an order may wait for its stock before its customer gives up.
PATIENCE = 60.0

BODIES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "pay": lambda: {"payment_reference": f"pay-{random.randint(1000, 9999)}"},
    "ship": lambda: {"carrier": random.choice(CARRIERS), "tracking_number": uuid.uuid4().hex[:12]},
    "cancel": lambda: {"reason": "changed my mind"},
}


class Customers:
    """Threads that place `count` orders of these `skus` and send each order's further commands.

    An order that the stock has cancelled meanwhile has come to its end.

    `orders` has each order's states so far, `done` the ids of those that nothing more will happen
    to, `failures` what was answered with an error. All may be read at any time.
    """

    def __init__(
        self, url: str, token: str, count: int, skus: Sequence[str], at_a_time: int = 4
    ) -> None:
        self.count = count
        self._skus = skus
        self.orders: dict[str, list[str]] = {}
        self.done: set[str] = set()
        self.commands = 0
        self.failures: list[str] = []
        self._client = httpx.Client(
            base_url=f"{url}/api/orders/", headers={"Authorization": f"Token {token}"}, timeout=15
        )
        self._courses = iter([COURSES[n % len(COURSES)] for n in range(count)])
        self._lock = threading.Lock()
        # Daemons: an interrupted demo doesn't wait for its customers.
        self._threads = [
            threading.Thread(target=self._shop, name=f"cust-{n + 1}", daemon=True)
            for n in range(at_a_time)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _shop(self) -> None:
        while course := self._next_course():
            try:
                self._order(course)
            except (httpx.HTTPError, KeyError) as error:
                self.failures.append(f"{error!r}")

    def _next_course(self) -> tuple[str, ...] | None:
        with self._lock:
            return next(self._courses, None)

    def _order(self, course: tuple[str, ...]) -> None:
        items = [self._item() for _ in range(random.randint(1, 3))]
        customer = threading.current_thread().name
        order = self._post("", {"customer_id": customer, "currency": "EUR", "items": items})
        order_id = order["order_id"]
        states = self.orders[order_id] = [order["status"]]
        for command in course:
            time.sleep(random.uniform(0.02, 0.15))
            order = self._command(order_id, command)
            if order["status"] != states[-1]:
                states.append(order["status"])
            if is_out_of_stock(order):
                break
        self.done.add(order_id)

    def _command(self, order_id: str, command: str) -> dict[str, Any]:
        """The order as the command leaves it, or as the stock has left it."""
        if command == "ship":
            order = self._with_its_stock(order_id)
            if is_out_of_stock(order):
                return order
        body = self._item() if command == "items" else BODIES[command]()
        try:
            return self._post(f"{order_id}/{command}/", body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 422:
                order = self._get(order_id)
                if is_out_of_stock(order):
                    return order
            raise

    def _with_its_stock(self, order_id: str) -> dict[str, Any]:
        """The order once the stock has answered for all of it."""
        deadline = time.monotonic() + PATIENCE
        while (order := self._get(order_id))["awaiting_stock"] and time.monotonic() < deadline:
            time.sleep(0.1)
        return order

    def _item(self) -> dict[str, Any]:
        price = f"{random.randint(1, 99)}.{random.randint(0, 99):02}"
        sku = random.choice(self._skus)
        return {"sku": sku, "quantity": random.randint(1, 5), "unit_price": price}

    def _get(self, order_id: str) -> dict[str, Any]:
        order: dict[str, Any] = self._client.get(f"{order_id}/").raise_for_status().json()
        return order

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._client.post(path, json=body, headers=headers).raise_for_status()
        self.commands += 1
        order: dict[str, Any] = answer.json()
        return order
