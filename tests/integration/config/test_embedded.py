"""The bundled servers: real, on loopback, and gone when they should be."""

import os
import signal
import subprocess
import sys

import pytest
from pymongo import MongoClient
from redis import Redis

from config import embedded
from tests.integration.config.processes import eventually, gone


@pytest.fixture(params=[embedded.Redis, embedded.Valkey])
def broker(request, tmp_path):
    with request.param(tmp_path / "data") as server:
        yield server


def test_mongodb_comes_back_at_the_same_address_with_the_same_data(tmp_path):
    with embedded.MongoDB(tmp_path / "data") as server:
        with MongoClient(server.url) as client:
            client.shop.orders.insert_one({"_id": "o-1"})
        first = server.process.pid
        os.kill(first, signal.SIGKILL)
        eventually(lambda: server.process.exit_code is not None)

        server.start()

        assert server.process.pid != first
        with MongoClient(server.url) as client:
            assert client.shop.orders.find_one() == {"_id": "o-1"}
            assert client.admin.command("hello")["setName"] == "rs0"
    assert gone(server.process.pid)


def test_a_broker_keeps_what_it_has_answered_through_sigkill(broker):
    with Redis.from_url(broker.url) as client:
        client.xadd("orders", {"event": "{}"})
    os.kill(broker.process.pid, signal.SIGKILL)
    eventually(lambda: broker.process.exit_code is not None)

    broker.start()

    with Redis.from_url(broker.url) as client:
        assert client.xlen("orders") == 1


def test_a_server_is_reached_over_loopback_only_and_its_folder_is_private(broker):
    assert broker.folder.stat().st_mode & 0o777 == 0o700
    with Redis.from_url(broker.url) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_a_suspended_server_can_be_stopped(broker):
    os.kill(broker.process.pid, signal.SIGSTOP)
    broker.stop()
    assert gone(broker.process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_a_server_dies_with_the_process_that_started_it(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from config.embedded import Redis\n"
        "print(Redis(Path(sys.argv[1])).start().process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        server = int(parent.stdout.readline())
        assert not gone(server)
        parent.kill()
    eventually(lambda: gone(server))


def test_a_server_that_does_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded.Redis, "_command", lambda self: ["--no-such-option", "1"])
    with pytest.raises(embedded.ServerError, match=r"ended with code 1:\n(?s:.*)no-such-option"):
        embedded.Redis(tmp_path / "data").start()


def test_a_server_that_cannot_run_here_says_what_to_do_instead(tmp_path):
    server = embedded.Redis(tmp_path / "data")
    server.binary = tmp_path / "nothing"
    with pytest.raises(embedded.ServerError) as error:
        server.start()
    for way in ("can't run on this system", "compose.yaml", *embedded.VARIABLES):
        assert way in str(error.value)
