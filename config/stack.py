"""The stack: the servers, web, worker, beat and consumer, started in order and waited for."""

import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException

from config import programs
from config.embedded import VARIABLES, MongoDB, Redis, Server, ServerError, own_servers
from config.interruption import Interruption
from config.ports import free_port, is_free
from config.processes import Process
from config.run_folder import RunFolder
from config.supervisor import Supervisor

#: Seconds that a program may take to get ready; slow machines have slow disks too.
PATIENCE = 120.0

Say = Callable[[str], None]


class StartError(Exception):
    """Something didn't start; the text says what and why."""


def start(supervisor: Supervisor, folder: RunFolder, interruption: Interruption, say: Say) -> None:
    """Start all of it, and write the addresses once all of it is ready.

    Raises `StartError`, and `Interrupted` when it is time to stop; what was started until then is
    the supervisor's to end.
    """
    port = web_port()
    say(f"Starting; the logs are in {folder.logs}.")
    try:
        servers = own_servers() or _start_servers(supervisor, folder, interruption, say)
    except ServerError as error:
        raise StartError(str(error)) from error
    access = {"OUTBOX_API_TOKEN": secrets.token_hex(20), "DEMO_PASSWORD": secrets.token_urlsafe(9)}
    environment = {**os.environ} | programs.environment(servers, folder.data)

    def launch(name: str, command: list[str], extra: Mapping[str, str] | None = None) -> Process:
        return Process(command, folder.log(name), {**environment, **(extra or {})})

    def wait(name: str, process: Process, is_ready: Callable[[], bool]) -> None:
        while not is_ready():
            if process.exit_code is not None:
                raise StartError(f"{name} ended with code {process.exit_code}:\n{process.tail()}")
            if process.age > PATIENCE:
                raise StartError(f"{name} isn't ready after {PATIENCE} s:\n{process.tail()}")
            interruption.pause(0.05)
        say(f"{name:<8} ready after {process.age:.1f} s")

    prepare = launch("prepare", programs.PREPARE, access)
    try:
        wait("database", prepare, lambda: prepare.exit_code == 0)
    finally:
        prepare.kill()
    web = supervisor.start("web", partial(launch, "web", programs.web(port)))
    worker = supervisor.start("worker", partial(launch, "worker", programs.WORKER))
    beat = supervisor.start("beat", partial(launch, "beat", programs.beat(folder.data)))
    consumer = supervisor.start("consumer", partial(launch, "consumer", programs.CONSUMER))
    wait("web", web, partial(answers, port, access["OUTBOX_API_TOKEN"]))
    wait("worker", worker, partial(logged, worker, " ready."))
    wait("beat", beat, partial(logged, beat, "beat: Starting"))
    wait("consumer", consumer, partial(logged, consumer, "Consuming for"))
    folder.write_environment(
        {
            "WEB_URL": f"http://127.0.0.1:{port}",
            **servers,
            **access,
            # What manage.py needs as well, to be about the same databases.
            **{name: environment[name] for name in ("DJANGO_SECRET_KEY", "DJANGO_DATABASE")},
        }
    )


def _start_servers(
    supervisor: Supervisor, folder: RunFolder, interruption: Interruption, say: Say
) -> dict[str, str]:
    """The bundled servers, ready, as the variables that name them."""
    servers: list[Server] = []
    for name, kind in (("mongod", MongoDB), ("redis", Redis)):
        server = kind(folder.data / name, folder.log(name))
        process = supervisor.start(name, server.launch, is_server=True)
        server.wait_until_ready(pause=interruption.pause)
        say(f"{name:<8} ready after {process.age:.1f} s")
        servers.append(server)
    mongodb, redis = servers
    return dict(zip(VARIABLES, (mongodb.url, "outbox", redis.url), strict=True))


def web_port() -> int:
    """The port that `PORT` names; without it 8000, or a free one if that is taken."""
    given = os.environ.get("PORT")
    if not given:
        return 8000 if is_free(8000) else free_port()
    if not given.isdecimal() or not 0 < int(given) < 65536:
        raise StartError(f"PORT={given} isn't a port number.")
    if not is_free(int(given)):
        raise StartError(f"Port {given} can't be listened on: it is taken, or not allowed to you.")
    return int(given)


def answers(port: int, token: str) -> bool:
    """Whether the API answers as it should, from its databases on."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/orders/", headers={"Authorization": f"Token {token}"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def logged(process: Process, text: str) -> bool:
    return text in process.log.read_text(errors="replace")
