"""A command over the bus against load and save, and a request against a view that only writes."""

import statistics

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
    stage.clear()
    stage.fill(2)
    documents = stage.connections.database()[stage.COLLECTION]
    ids = [found["_id"] for found in documents.find({}, {"_id": 1}).limit(2)]
    found = {"ours": [], "floor": []}
    for _ in range(rounds):
        taken = {"ours": [], "floor": []}
        for number in range(times):
            for who, call, order_id in (("ours", ours, ids[0]), ("floor", floor, ids[1])):
                taken[who].append(stage.timed(call, order_id, f"status-{number}"))
            # As the relay would, and not measured: what waits is taken out.
            documents.update_many({}, {"$set": {"outbox.pending": []}})
        for who, values in taken.items():
            found[who].append(statistics.median(values))
    return stage.summary(name, found["ours"], found["floor"], "ms, median", "")
