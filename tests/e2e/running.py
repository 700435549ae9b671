"""The whole project running: real servers, and all its programs as processes of their own."""

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from config import programs, stack
from config.demo.circle import letters_in
from config.demo.history import compare
from config.embedded import VARIABLES
from config.ports import free_port
from config.processes import Process
from config.run_folder import RunFolder
from config.supervisor import Supervisor

TOPICS = ("orders", "orders-internal", "stock-internal")
#: Where aggregates are, and what consumers keep of them.
AGGREGATES = ("orders", "stock")
KEPT = (
    *("customer_orders", "outbox_inbox", "outbox_cursors", "outbox_deferred"),
    *("outbox_dead_letters", "outbox_dispatched"),
)


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
        self.address = (environment["WEB_URL"], environment["OUTBOX_API_TOKEN"])
        self.servers = {name: environment[name] for name in VARIABLES}
        self.mongo = MongoClient(environment["OUTBOX_MONGODB_URI"], tz_aware=True)
        self.database = self.mongo[environment["OUTBOX_MONGODB_DATABASE"]]
        self.documents = self.database["orders"]
        self.redis = Redis.from_url(environment["OUTBOX_REDIS_URL"], socket_timeout=5)

    def close(self):
        self.client.close()
        self.mongo.close()
        self.redis.close()

    def forget(self):
        """Begin anew, with no orders, no stock and nothing on the streams.

        The consumers go on as they are. What they remember of an aggregate does no harm, as no id
        is used again; the groups stay, so that they needn't notice.
        """
        with suppress(AssertionError):  # a test that failed may have left what never ends
            self.until_quiet()
        for name in (*AGGREGATES, *KEPT):
            self.database[name].delete_many({})
        for topic in TOPICS:
            self.redis.xtrim(topic, maxlen=0, approximate=False)

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

    def restarted(self, name, before, within=30):
        """Wait until there is another process of that name than this one."""
        deadline = time.monotonic() + within
        while self.pid(name) == before:
            assert time.monotonic() < deadline, f"{name} isn't started again"
            time.sleep(0.05)

    @contextmanager
    def another_consumer(self):
        """The pid of one more, which isn't started again when it ends."""
        environment = {**os.environ, **programs.environment(self.servers, self.folder.data)}
        process = Process(programs.CONSUMER, self.folder.log("consumer-2"), environment)
        try:
            self.until(partial(stack.logged, process, "Consuming for"))
            yield process.pid
        finally:
            process.stop(within=10)
        assert process.exit_code == 0, process.tail()

    def consuming(self):
        """The pids that have read from a stream as one of its groups in the last second."""
        return [
            {
                int(one["name"].split(b"-")[-2])
                for one in self.redis.xinfo_consumers(topic, group["name"])
                if one["idle"] < 1500
            }
            for topic in TOPICS
            for group in self.redis.xinfo_groups(topic)
        ]

    def letters(self):
        return [
            letter
            for log in self.folder.logs.glob("consumer*.log")
            for letter in letters_in(log.read_text(errors="replace"))
        ]

    def pending(self):
        return sum(
            len(found["outbox"]["pending"])
            for name in AGGREGATES
            for found in self.database[name].find({}, {"outbox.pending.event_id": 1})
        )

    def quiet(self):
        """Whether nothing is on its way: all is published, and all that is is dealt with."""
        with suppress(PyMongoError, RedisError):
            before = self._consumed()
            # In the order of the way: what moves on between two looks shows in the last.
            return (
                None not in before
                and not self.database["outbox_deferred"].find_one()
                and not self.pending()
                and self._consumed() == before
            )
        return False

    def _consumed(self):
        """Each stream's last id; None for one that a group hasn't come to the end of."""
        found = []
        for topic in TOPICS:
            last = self.redis.xinfo_stream(topic)["last-generated-id"]
            groups = self.redis.xinfo_groups(topic)
            done = all(not one["pending"] and one["last-delivered-id"] == last for one in groups)
            found.append(last if done else None)
        return found

    def until_quiet(self, within=60):
        deadline = time.monotonic() + within
        while not self.quiet():
            assert time.monotonic() < deadline, (
                f"after {within} s {self.pending()} messages are pending, "
                f"{list(self.database['outbox_deferred'].find())} deferred, "
                f"and of the streams {self._consumed()} consumed"
            )
            time.sleep(0.1)

    def until(self, is_so, within=60):
        deadline = time.monotonic() + within
        while not is_so():
            assert time.monotonic() < deadline, f"not so after {within} s: {is_so}"
            time.sleep(0.1)

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
        documents = [found for name in AGGREGATES for found in self.database[name].find()]
        history = compare(documents, {topic: self.events(topic) for topic in TOPICS})
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
        for name in VARIABLES:
            environment.delenv(name, raising=False)
        environment.setenv("PORT", str(free_port()))
        given = programs.environment
        environment.setattr(
            programs,
            "environment",
            lambda *args: given(*args) | {"DJANGO_SETTINGS_MODULE": "tests.e2e.settings"},
        )
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
