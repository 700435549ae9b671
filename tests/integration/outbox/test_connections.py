import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from pymongo.errors import AutoReconnect, ExecutionTimeout, NetworkTimeout, OperationFailure

from outbox import connections
from outbox.errors import StoreUnavailable

ROOT = Path(__file__).parents[3]

FORKING = """
import os
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["outbox"],
    OUTBOX_MONGODB_URI=os.environ["URI"],
    OUTBOX_MONGODB_DATABASE=os.environ["DATABASE"],
)
django.setup()
from outbox import clock, connections

def work():
    documents = connections.collection("forks")
    documents.insert_one({"pid": os.getpid(), "at": clock.now(documents.database)})
    return documents.database.client

mine = work()
pid = os.fork()
if pid == 0:
    os._exit(0 if work() is not mine else 1)
_, status = os.waitpid(pid, 0)
work()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_connections_of_its_own(mongo, settings):
    """As Celery's and gunicorn's workers are made; pymongo warns of a client taken along."""
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", FORKING],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "URI": settings.OUTBOX_MONGODB_URI,
            "DATABASE": settings.OUTBOX_MONGODB_DATABASE,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert len(mongo["forks"].distinct("pid")) == 2
    assert mongo["forks"].count_documents({}) == 3


def test_a_process_has_one_client_for_each_of_its_servers(mongo, settings):
    assert connections.database().client is connections.collection("notes").database.client
    settings.OUTBOX_MONGODB_DATABASE = "other"
    assert connections.collection("notes").database.name == "other"
    assert connections.database().client is mongo.client


def test_writes_wait_for_a_majority_and_times_are_aware(mongo):
    assert connections.collection("notes").write_concern.document == {"w": "majority"}
    assert mongo.codec_options.tz_aware


def test_redis_is_never_asked_twice(redis):
    retry = redis.connection_pool.connection_kwargs["retry"]
    assert retry.get_retries() == 0


@pytest.mark.parametrize(
    "error",
    [AutoReconnect("gone"), NetworkTimeout("slow"), ExecutionTimeout("slow", code=50)],
)
def test_a_store_that_is_away_or_slow_is_one_error(error):
    with pytest.raises(StoreUnavailable), connections.store_errors():
        raise error


def test_what_is_our_own_fault_stays_what_it_is():
    with pytest.raises(OperationFailure), connections.store_errors():
        raise OperationFailure("bad query", code=2)


@pytest.mark.parametrize("password", ["s3cr3t/x", "s3cr3t#x", "s3cr3t@x:y", "s3cr3t%x"])
def test_an_address_that_cannot_be_read_is_not_quoted(settings, password):
    settings.OUTBOX_REDIS_URL = f"redis://:{password}@127.0.0.1:1/0"
    settings.OUTBOX_MONGODB_URI = f"mongodb://u:{password}@127.0.0.1:1/"
    for ask in (connections.database, connections.redis_client):
        try:
            ask()
        except ImproperlyConfigured as error:
            assert "percent-encode" in str(error)
            assert "s3cr3t" not in "".join(traceback.format_exception(error))
