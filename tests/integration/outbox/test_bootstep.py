"""The consumers inside a Celery worker, which is a real one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outbox import connections
from tests.integration.outbox.consuming import add, event

PROJECT = """
import django
from celery import Celery
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["outbox"],
    OUTBOX_MONGODB_URI={mongodb!r},
    OUTBOX_MONGODB_DATABASE={database!r},
    OUTBOX_REDIS_URL={redis!r},
)
django.setup()

from outbox import bootstep, discovery
from tests.integration.outbox.consuming import projection

discovery.messaging().subscribes["titles"] = projection()
app = Celery("project", broker={redis!r})
app.steps["worker"].add(bootstep.ConsumeStep)
"""


@pytest.fixture
def worker(mongo, redis, mongodb_uri, redis_url, tmp_path):
    project = PROJECT.format(mongodb=mongodb_uri, database=mongo.name, redis=redis_url)
    (tmp_path / "project.py").write_text(project)
    options = ["--concurrency", "1", "--without-mingle"]
    command = [sys.executable, "-m", "celery", "-A", "project", "worker", *options]
    path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log
        )
    yield process
    process.kill()
    process.wait()


def until(condition, within=20):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_with_the_bootstep_consumes_and_gives_its_leases_back(worker, redis):
    add(redis, event("n1", 1), event("n1", 2))
    read_model = connections.database()["note_titles"]
    until(lambda: len((read_model.find_one({"_id": "n1"}) or {}).get("seen", [])) == 2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=15) == 0
    [lease] = connections.database()["outbox_leases"].find()
    assert lease["owner"] is None
