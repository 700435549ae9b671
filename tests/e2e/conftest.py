"""The whole project running: real servers, web, worker and beat as processes of their own."""

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from pymongo import MongoClient
from redis import Redis

from config import stack
from config.demo.history import compare
from config.embedded import VARIABLES
from config.run_folder import RunFolder
from config.supervisor import Supervisor

TOPICS = ("orders", "orders-internal")


class Running:
    """What runs, and what can be done to it."""

    def __init__(self, folder):
        self.folder = folder
        environment = folder.environment()
        self.client = httpx.Client(
            base_url=environment["WEB_URL"],
            headers={"Authorization": f"Token {environment['OUTBOX_API_TOKEN']}"},
            timeout=30,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8),
        )
        self.mongo = MongoClient(environment["OUTBOX_MONGODB_URI"], tz_aware=True)
        self.documents = self.mongo[environment["OUTBOX_MONGODB_DATABASE"]]["orders"]
        self.redis = Redis.from_url(environment["OUTBOX_REDIS_URL"], socket_timeout=5)

    def close(self):
        self.client.close()
        self.mongo.close()
        self.redis.close()

    def forget(self):
        """Begin anew, with no orders and nothing on the streams."""
        self.documents.delete_many({})
        self.redis.delete(*TOPICS)

    def post(self, path, body, **headers):
        """The answer, and the seconds it took."""
        began = time.monotonic()
        response = self.client.post(path, json=body, headers=headers)
        assert response.status_code in (200, 201), response.text
        return response, time.monotonic() - began

    def place(self):
        item = {"sku": "WIDGET-01", "quantity": 2, "unit_price": "49.99"}
        body = {"customer_id": "cust-789", "currency": "USD", "items": [item]}
        return self.post("/api/orders/", body)

    def whole_life(self, number=0):
        """Place an order and do with it what there is to do; its path and what each took."""
        item = {"sku": "GADGET-02", "quantity": 1, "unit_price": "5.00"}
        response, seconds = self.place()
        path, taken = response.headers["Location"], [seconds]
        steps = [("items/", item), ("pay/", {"payment_reference": "p-1"})]
        if number % 3 == 0:
            steps += [("cancel/", {"reason": "changed my mind"})]
        else:
            steps += [("ship/", {"carrier": "DHL", "tracking_number": "t-1"})]
        for step, body in steps:
            taken.append(self.post(path + step, body)[1])
        return path, taken

    def live(self, lives, meanwhile=lambda: None):
        """Let eight clients at once live so many lives; what every request took."""
        with ThreadPoolExecutor(8) as clients:
            lived = [clients.submit(self.whole_life, number) for number in range(lives)]
            meanwhile()
            return [seconds for one in lived for seconds in one.result()[1]]

    def pid(self, name):
        return self.folder.pid(name)

    def kill(self, name):
        os.kill(self.pid(name), signal.SIGKILL)

    def stop(self, name):
        os.killpg(self.pid(name), signal.SIGSTOP)

    def go_on(self, name):
        os.killpg(self.pid(name), signal.SIGCONT)

    def pending(self):
        return sum(len(found["outbox"]["pending"]) for found in self.documents.find())

    def until_dispatched(self, within=60):
        deadline = time.monotonic() + within
        while self.pending():
            assert time.monotonic() < deadline, f"{self.pending()} messages are still pending"
            time.sleep(0.1)

    def events(self, topic):
        return [
            (entry_id.decode(), json.loads(fields[b"event"]))
            for entry_id, fields in self.redis.xrange(topic)
        ]

    def check(self):
        """Nothing missing, invented or out of order; the history, for more."""
        history = compare(self.documents.find(), {topic: self.events(topic) for topic in TOPICS})
        assert history.is_right, history
        assert history.expected == history.published > 0
        return history

    def versions(self):
        return Counter(found["version"] for found in self.documents.find({}, {"version": 1}))


class Pause:
    """What `stack.start` waits with, where no signal is to be listened for."""

    pause = staticmethod(time.sleep)


@pytest.fixture
def running(stack_running):
    stack_running.forget()
    return stack_running


@pytest.fixture(scope="session")
def stack_running(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as environment:
        # Bundled servers, whatever else the tests run on: these get killed.
        for name in (*VARIABLES, "PORT"):
            environment.delenv(name, raising=False)
        folder.hold()
        supervisor, ended = Supervisor(folder, lambda text: None), threading.Event()
        try:
            stack.start(supervisor, folder, Pause(), say=lambda text: None)

            def watch():
                while not ended.wait(0.1):
                    supervisor.watch()

            watching = threading.Thread(target=watch)
            watching.start()
            with closing(Running(folder)) as running:
                yield running
            ended.set()
            watching.join()
        finally:
            supervisor.stop()
