"""A life of the whole outbox for tests to count: orders, relays and consumers in several processes.

Of a quarter of the orders Redis refuses what is for the inside; a tenth are poison for the letters.
"""

import uuid
from contextlib import suppress
from decimal import Decimal

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend

from orders.domain import commands
from orders.domain.line import Line
from outbox import connections, streams
from outbox.consumers import consumers_of
from outbox.discovery import bus, messaging, relays, subscribers
from outbox.errors import Superseded

#: As a topic is spread over so many streams, of which one is something else.
PARTITIONS, REFUSED = 4, "orders-internal.2"
FINISHED = "finished"

#: Orders that each worker places; a multiple of ten.
ORDERS = 20

#: What a child process does, until the test says that it is finished.
CHILD = """
import django
django.setup()
from tests.integration.outbox import living
living.prepare()
living.work()
"""


def prepare():
    """The settings of it; what `child` doesn't pass on is set here."""
    settings.OUTBOX_STATISTICS = True
    settings.OUTBOX_TOPICS = {"orders-internal": {"partitions": PARTITIONS}}
    settings.OUTBOX_BACKOFF, settings.OUTBOX_BACKOFF_MAX = 0.05, 0.5
    settings.OUTBOX_STUCK_AFTER = settings.OUTBOX_MAX_ATTEMPTS = 3
    settings.OUTBOX_BREAKER_FAILURES = 10**6
    # Nobody loses one: there are no repeats but those that the test makes.
    settings.OUTBOX_LEASE = 60.0
    if hasattr(settings, "MAILERS"):  # Django 6.1
        settings.MAILERS = {"default": {"BACKEND": f"{__name__}.Picky"}}
    else:
        settings.EMAIL_BACKEND = f"{__name__}.Picky"


class Picky(BaseEmailBackend):
    """Fails with some letters and swallows the others."""

    def send_messages(self, email_messages):
        if any(letter.to[0].startswith("poison") for letter in email_messages):
            raise ValueError("poison")


def order(customer_id):
    """Place an order, change it, pay it, ship it."""
    order_id = str(uuid.uuid4())
    line = Line(sku="WIDGET-01", quantity=2, unit_price=Decimal("49.99"))
    placed = {"customer_id": customer_id, "currency": "USD", "lines": (line,)}
    for command in (
        commands.PlaceOrder(order_id=order_id, **placed),
        commands.AddItem(order_id=order_id, line=line),
        commands.PayOrder(order_id=order_id, payment_reference="p-1"),
        commands.ShipOrder(order_id=order_id, carrier="DHL", tracking_number="t-1"),
    ):
        bus().handle(command)


def work():
    """Order, sweep and consume, until it is finished."""
    found = [one for subscriber in subscribers() for one in consumers_of(subscriber)]
    consumers = [one for one in found if one.stream != REFUSED]
    customers = (["ann"] * 9 + ["poison"]) * (ORDERS // 10)
    while not connections.redis_client().exists(FINISHED):
        for _ in range(min(5, len(customers))):
            order(customers.pop())
        for relay in relays():
            relay.sweep()
        for one in consumers:
            with suppress(Superseded):  # another has taken over; it goes on
                one.drain()


def streams_of(topic):
    """The topic's streams, but for the one that isn't one."""
    return [one for one in streams.streams_of(topic) if one != REFUSED]


def is_quiet(mongo, redis):
    """Whether nothing is on its way but what Redis refuses, and what waits behind that."""
    waiting = [
        one["outbox"]["pending"] for one in mongo["orders"].find({"outbox.pending": {"$ne": []}})
    ]
    return (
        all(entries[0].get("attempts", 0) >= settings.OUTBOX_STUCK_AFTER for entries in waiting)
        and not mongo["outbox_deferred"].find_one()
        and all(
            group["last-delivered-id"] == redis.xinfo_stream(stream)["last-generated-id"]
            and not group["pending"]
            for one in messaging().subscribes.values()
            for stream in streams_of(one.topic)
            if redis.exists(stream)
            for group in redis.xinfo_groups(stream)
        )
    )
