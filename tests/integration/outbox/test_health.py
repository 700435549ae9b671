"""Probes are answered in time, and say no more than what is well and what isn't."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from config import embedded
from outbox import health
from outbox.discovery import subscribers
from outbox.telemetry import telemetry

NOWHERE = {
    "store": ("OUTBOX_MONGODB_URI", "mongodb://127.0.0.1:1/"),
    "broker": ("OUTBOX_REDIS_URL", "redis://:secret@127.0.0.1:1/0"),
}


@pytest.fixture
def servers(mongo, redis):
    pass


@pytest.fixture
def all_at_work(servers, mongo, settings):
    """Relays and consumers are seen."""
    telemetry.flush()
    mongo["outbox_processes"].delete_many({})
    settings.OUTBOX_STATISTICS = True
    for role in ("relay", *(f"consumer:{one.name}" for one in subscribers())):
        telemetry.alive(role)
    telemetry.breaker("relay", "closed")  # so that it is written at once
    telemetry.flush()


def asked(client, path):
    response = client.get(path)
    return response.status_code, response.json()


@pytest.mark.django_db
def test_live_asks_no_server(client, servers, commands, redis, django_assert_num_queries):
    client.get("/healthz/live")
    commands.clear()
    before = redis.info("stats")["total_commands_processed"]
    with django_assert_num_queries(0):
        assert asked(client, "/healthz/live") == (200, {"status": "up"})
    assert commands.events == []
    assert redis.info("stats")["total_commands_processed"] == before + 1


def test_live_is_so_without_any_server(client, settings):
    for setting, value in NOWHERE.values():
        setattr(settings, setting, value)
    assert asked(client, "/healthz/live")[0] == 200


def test_it_is_ready_while_both_servers_answer(client, servers):
    up = {"status": "up", "store": "up", "broker": "up"}
    assert asked(client, "/healthz/ready") == (200, up)


@pytest.mark.parametrize("which", NOWHERE)
def test_it_is_not_ready_without_one_of_them_and_says_which(client, servers, settings, which):
    setattr(settings, *NOWHERE[which])
    states = {"store": "up", "broker": "up"} | {which: "down"}
    response = client.get("/healthz/ready")
    assert (response.status_code, response.json()) == (503, {"status": "down", **states})
    assert "no-store" in response["Cache-Control"]


def test_the_broker_can_be_left_out_of_it_and_is_told_of_all_the_same(client, servers, settings):
    setattr(settings, *NOWHERE["broker"])
    states = {"status": "up", "store": "up", "broker": "down"}
    assert asked(client, "/healthz/ready?exclude=broker") == (200, states)
    setattr(settings, *NOWHERE["store"])
    assert asked(client, "/healthz/ready?exclude=broker")[0] == 503


def test_without_redis_as_its_broker_a_project_is_ready_without_it(client, servers, settings):
    setattr(settings, *NOWHERE["broker"])
    settings.OUTBOX_PUBLISHER = health.IN_PROCESS
    assert asked(client, "/healthz/ready")[0] == 200


def test_servers_that_hang_are_not_waited_for_long(client, tmp_path, settings):
    settings.OUTBOX_MONGODB_TIMEOUT = settings.OUTBOX_REDIS_TIMEOUT = 60.0
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    with embedded.MongoDB(tmp_path / "m") as mongodb, embedded.Redis(tmp_path / "r") as redis:
        settings.OUTBOX_MONGODB_URI, settings.OUTBOX_REDIS_URL = mongodb.url, redis.url
        # Once well, so that there are connections: those have to be found out about too.
        assert asked(client, "/healthz/ready")[0] == 200
        for server in (mongodb, redis):
            os.killpg(server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        down = {"status": "down", "store": "down", "broker": "down"}
        for _ in range(3):
            assert asked(client, "/healthz/ready") == (503, down)
        # 1.5 s each; without a bound they would take a minute.
        assert time.monotonic() - began < 20
        for server in (mongodb, redis):
            os.killpg(server.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 20
        while asked(client, "/healthz/ready")[0] != 200:
            assert time.monotonic() < deadline


def test_many_who_ask_at_once_are_one_question_to_a_server_that_hangs(servers, monkeypatch):
    calls, hangs = [], threading.Event()

    def hang():
        calls.append(1)
        hangs.wait(30)

    monkeypatch.setattr(health, "_store_answers", hang)
    monkeypatch.setattr(health, "PATIENCE", 0.3)
    try:
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda _: Client().get("/healthz/ready"), range(40)))
    finally:
        hangs.set()
    assert {one.status_code for one in answers} == {503}
    assert calls == [1]


def test_the_outbox_is_well_or_there_is_a_warning_or_it_is_bad(
    client, all_at_work, mongo, settings
):
    assert asked(client, "/healthz/outbox") == (200, {"status": "well", "problems": []})
    letter = {"subscriber": "letters", "state": "dead", "error": "a secret"}
    mongo["outbox_dead_letters"].insert_one(letter)
    warning = {"status": "warning", "problems": ["dead_letters"]}
    assert asked(client, "/healthz/outbox") == (200, warning)
    settings.OUTBOX_THRESHOLDS = {"dead_letters": (1, 1)}
    bad = {"status": "bad", "problems": ["dead_letters"]}
    assert asked(client, "/healthz/outbox") == (503, bad)


def test_an_outbox_that_can_not_be_asked_is_bad(client, servers, settings):
    setattr(settings, *NOWHERE["store"])
    settings.OUTBOX_MONGODB_TIMEOUT = 0.5
    assert asked(client, "/healthz/outbox") == (503, {"status": "bad", "problems": ["store"]})


def test_an_outbox_that_hangs_is_bad_in_time(client, servers, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(health.monitoring, "overview", lambda: hangs.wait(30))
    monkeypatch.setattr(health, "CONDITION_PATIENCE", 0.2)
    try:
        assert asked(client, "/healthz/outbox")[1]["problems"] == ["store"]
    finally:
        hangs.set()


def test_probes_over_plain_http_are_not_sent_elsewhere_and_all_else_is(settings, servers):
    settings.SECURE_SSL_REDIRECT = True
    client = Client()  # reads the settings anew
    for path in ("live", "ready"):
        assert client.get(f"/healthz/{path}").status_code == 200
    assert client.get("/healthz/outbox").status_code != 301
    assert client.get("/metrics").status_code == 301
    assert client.get("/api/orders/").status_code == 301


@pytest.mark.parametrize("path", ["live", "ready", "outbox"])
def test_a_probe_only_reads(client, servers, path):
    assert client.post(f"/healthz/{path}").status_code == 405
    assert client.head(f"/healthz/{path}").status_code in (200, 503)
