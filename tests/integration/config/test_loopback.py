"""Loopback: what is bundled is reached from this machine only, and read by its user only."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest
import redis
from pymongo import MongoClient

from config import embedded, programs
from config.run_folder import RunFolder

LISTENS = "0A"


@pytest.fixture(params=[embedded.MongoDB, embedded.Redis, embedded.Valkey])
def server(request, tmp_path):
    with request.param(tmp_path / "data") as started:
        yield started


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_bundled_server_listens_on_loopback_and_on_nothing_else(server):
    assert listening(server.process.pid) == {("127.0.0.1", server.port)}
    assert [path for path in server.folder.rglob("*") if stat.S_ISSOCK(path.stat().st_mode)] == []


def test_its_folder_is_its_users(server):
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_mongod_has_no_socket_in_the_file_system(tmp_path):
    with embedded.MongoDB(tmp_path / "data") as server, MongoClient(server.url) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]["net"]

    assert options["unixDomainSocket"] == {"enabled": False}
    assert not Path(f"/tmp/mongodb-{server.port}.sock").exists()


@pytest.mark.parametrize("kind", [embedded.Redis, embedded.Valkey])
def test_a_broker_is_protected_and_has_no_socket_in_the_file_system(tmp_path, kind):
    with kind(tmp_path / "data") as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("protected-mode") == {"protected-mode": "yes"}
        assert client.config_get("unixsocket") == {"unixsocket": ""}


def test_the_web_is_bound_to_loopback():
    command = programs.web(8000)

    assert [command[i + 1] for i, word in enumerate(command) if word == "--bind"] == [
        "127.0.0.1:8000"
    ]
    assert "--no-control-socket" in command


def test_the_run_folder_is_its_users_whatever_the_umask(tmp_path):
    umask = os.umask(0)
    try:
        folder = RunFolder(tmp_path / "run")
        folder.hold()
        folder.write_environment({"OUTBOX_API_TOKEN": "secret"})
    finally:
        os.umask(umask)

    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.environment_file.stat().st_mode & 0o777 == 0o600


def listening(pid):
    """The addresses that a process listens on, over TCP of either kind."""
    links = (str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink())
    sockets = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in sockets:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found
