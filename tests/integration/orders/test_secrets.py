"""Secrets and personal data: not in logs, answers, checks or reports, whatever goes wrong."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks
from django.views.debug import ExceptionReporter, get_exception_reporter_filter

from config import programs
from orders import messaging
from outbox import connections
from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay
from tests.integration.orders.client import ORDER, as_staff, as_user
from tests.unit.orders.process import deliver_all

ROOT = Path(__file__).parents[3]
SECRET = "s3cr3t-w0rd"
AWAY = {
    "OUTBOX_MONGODB_URI": f"mongodb://user:{SECRET}@127.0.0.1:1/?directConnection=true",
    "OUTBOX_REDIS_URL": f"redis://user:{SECRET}@127.0.0.1:1/0",
}
AWAY["CELERY_BROKER_URL"] = AWAY["OUTBOX_REDIS_URL"]


@pytest.fixture
def away(settings):
    for name, value in AWAY.items():
        setattr(settings, name, value)
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    settings.OUTBOX_MONGODB_TIMEOUT = settings.OUTBOX_REDIS_TIMEOUT = 0.2


def everything(error):
    """What a traceback of the error would show."""
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or error.__context__


def test_a_store_that_is_away_is_told_of_without_its_password(away, caplog):
    caplog.set_level(logging.INFO)
    client = as_staff(1)

    for response in (client.get("/api/orders/"), client.place(), client.command("x", "pay")):
        assert response.status_code == 503
        assert SECRET not in response.content.decode() + str(response.headers)
    with pytest.raises(StoreUnavailable) as raised:
        messaging.orders.get("x")
    assert SECRET not in "".join(everything(raised.value))
    assert "127.0.0.1:1" in caplog.text, "where it isn't, is for the log"
    assert SECRET not in caplog.text


def test_a_broker_that_is_away_is_told_of_without_its_password(mongo, settings, caplog):
    caplog.set_level(logging.INFO)
    as_staff(1).placed()
    for name in ("OUTBOX_REDIS_URL", "CELERY_BROKER_URL"):
        setattr(settings, name, AWAY[name])
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"

    with pytest.raises(BrokerUnavailable) as raised:
        Relay("orders", publisher=RedisStreamPublisher()).sweep()
    logging.getLogger("outbox").error("The sweep failed", exc_info=raised.value)

    assert "127.0.0.1:1" in caplog.text
    assert SECRET not in caplog.text + "".join(everything(raised.value))


def test_a_wrong_password_is_told_of_without_it(mongodb_uri, redis_url, settings, caplog):
    settings.OUTBOX_MONGODB_URI = mongodb_uri.replace("://", f"://user:{SECRET}@")
    settings.OUTBOX_REDIS_URL = redis_url.replace("://", f"://user:{SECRET}@")
    client = as_staff(1)
    client.raise_request_exception = False

    response = client.get("/api/orders/")
    with pytest.raises(Exception) as raised:
        connections.redis_client().ping()

    assert response.status_code in (500, 503)
    told = response.content.decode() + caplog.text + "".join(everything(raised.value))
    assert SECRET not in told


def test_clients_show_no_password_of_theirs(away):
    shown = repr(connections.database()) + repr(connections.redis_client())

    assert SECRET not in shown


def test_checks_show_no_password(away):
    messages = checks.run_checks(include_deployment_checks=True)

    assert SECRET not in "".join(map(repr, messages)) + "".join(map(str, messages))


def test_error_reports_show_no_password(away, rf):
    shown = get_exception_reporter_filter(rf.get("/")).get_safe_settings()
    reporter = ExceptionReporter(rf.get("/"), *as_raised(ValueError("x")))

    assert not [name for name, value in shown.items() if SECRET in str(value)]
    assert SECRET not in reporter.get_traceback_text() + reporter.get_traceback_html()


def as_raised(error):
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_a_worker_says_where_its_broker_is_without_the_password():
    command = [*programs.WORKER, "--pool", "solo"]
    environment = {**os.environ, **AWAY, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        lines = []
        for line in worker.stdout:
            lines.append(line)
            if "Cannot connect" in line or len(lines) > 200:
                break
        worker.kill()

    assert "Cannot connect to redis://user:**@127.0.0.1:1" in lines[-1]
    assert SECRET not in "".join(lines)


PERSONAL = ["ann-smith", "pay-4711", "track-0815", "wrong colour", "ann@example.org"]


def test_what_customers_say_is_in_no_log(mongo, caplog, settings):
    caplog.set_level(logging.INFO)
    ann = as_user(9, username="ann-smith", email="ann@example.org")
    order = ORDER | {"customer_id": "ann-smith"}

    shipped = ann.place(order).json()["order_id"]
    ann.command(shipped, "pay", {"payment_reference": "pay-4711"})
    ann.command(shipped, "pay", {"payment_reference": "pay-4711"})
    ann.command(shipped, "ship", {"carrier": "DHL", "tracking_number": "track-0815"})
    ann.command(shipped, "cancel", {"reason": "wrong colour"})
    ann.place(order | {"items": [], "note": "ann@example.org"})
    ann.get("/api/orders/?customer_id=ann-smith&x=ann-smith")
    ann.get(f"/api/orders/{shipped}/")
    deliver_all("orders", "orders-internal", "stock-internal")

    assert "Bad Request" in caplog.text
    assert not [word for word in PERSONAL if word in caplog.text]


def test_what_customers_say_is_in_no_metadata(mongo):
    ann = as_user(9, username="ann-smith", email="ann@example.org")
    ann.place(ORDER | {"customer_id": "ann-smith"}, Idempotency_Key="ann-smith/ann@example.org")

    for message in mongo["orders"].find_one()["outbox"]["pending"]:
        assert not [word for word in PERSONAL if word in str(message["metadata"])]


def test_the_access_log_has_neither_addresses_nor_the_query():
    assert programs.ACCESS in programs.web(8000)
    assert "%(U)s" in programs.ACCESS, "the path without the query"
    for atom in ("%(r)s", "%(q)s", "%(h)s", "%(f)s", "%(a)s", "%({"):
        assert atom not in programs.ACCESS
