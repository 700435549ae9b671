"""A command over the bus against load and save, and a request against a view that only writes."""

from functools import partial

from django.test import Client

from benchmarks import stage
from outbox.discovery import bus


def over_the_bus(commands, rounds):
    def ours(order_id, status):
        bus().handle(stage.ChangeOrder(order_id=order_id, status=status))

    def floor(order_id, status):
        order = stage.orders.get(order_id)
        order.change(status)
        stage.orders.save(order)

    return _compare("command over the bus / load and save", ours, floor, commands, rounds)


def over_http(requests, rounds):
    client = Client()

    def ours(order_id, status):
        assert client.get(f"/command/{order_id}/{status}/").status_code == 200

    def floor(order_id, status):
        assert client.get(f"/write/{order_id}/{status}/").status_code == 200

    return _compare("request with a command / that only writes", ours, floor, requests, rounds)


def _compare(name, ours, floor, times, rounds):
    def prepare(*ids):
        return [
            partial(stage.timed, call, order_id)
            for call, order_id in zip((ours, floor), ids, strict=True)
        ]

    found = stage.by_operation(prepare, times, rounds)
    return stage.summary(name, found["ours"], found["floor"], "ms, median", "")
