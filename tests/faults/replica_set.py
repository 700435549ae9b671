"""A replica set of three of the bundled servers, whose members can be stopped and killed."""

import os
import signal
import time
from contextlib import contextmanager, suppress

from pymongo.errors import AutoReconnect, PyMongoError

from tests.faults.servers import FailingMongoDB

#: Milliseconds without a primary until another is elected; the default is ten seconds.
ELECTION_TIMEOUT = 1000


class Member(FailingMongoDB):
    """One of the three."""

    def _ready(self):
        try:
            return bool(self.command("ping")["ok"])
        except PyMongoError:
            return False


class ReplicaSet:
    """Three members, started together. A context manager."""

    def __init__(self, folder):
        self.members = [Member(folder / f"member{number}") for number in range(3)]
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.members)
        self.url = f"mongodb://{hosts}/?replicaSet=rs0"

    def __enter__(self):
        try:
            for one in self.members:
                one.launch()
            for one in self.members:
                one.wait_until_ready()
            members = [
                {"_id": number, "host": f"127.0.0.1:{one.port}"}
                for number, one in enumerate(self.members)
            ]
            settings = {"electionTimeoutMillis": ELECTION_TIMEOUT, "heartbeatIntervalMillis": 250}
            config = {"_id": "rs0", "members": members, "settings": settings}
            self.members[0].command("replSetInitiate", config)
            self.until_whole()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for one in self.members:
            # Asked to stop, a primary would give its clients fifteen seconds to leave.
            if one.process is not None:
                one.process.kill()

    def states(self):
        """What each member says it is, of those that answer."""
        found = {}
        for one in self.members:
            if one.process.exit_code is None:
                try:
                    hello = one.command("hello")
                except PyMongoError:
                    continue
                is_primary, is_secondary = hello["isWritablePrimary"], hello.get("secondary")
                found[one] = "primary" if is_primary else "secondary" if is_secondary else "other"
        return found

    @property
    def primary(self):
        """The primary; waits for one."""
        deadline = time.monotonic() + 30
        while True:
            states = self.states()
            for one, state in states.items():
                if state == "primary":
                    return one
            assert time.monotonic() < deadline, states
            time.sleep(0.05)

    def secondaries(self):
        primary = self.primary
        return [one for one in self.members if one is not primary]

    def until_whole(self, within=60):
        """Start whoever is dead, and wait until all three are there."""
        for one in self.members:
            if one.process.exit_code is not None:
                one.start()
        deadline = time.monotonic() + within
        while sorted(self.states().values()) != ["primary", "secondary", "secondary"]:
            assert time.monotonic() < deadline, self.states().values()
            time.sleep(0.05)

    def step_down(self):
        """Have the primary hand over to another."""
        with suppress(AutoReconnect):  # it may end its connections
            self.primary.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)

    def kill_primary(self):
        """SIGKILL; the member that it was."""
        primary = self.primary
        os.kill(primary.process.pid, signal.SIGKILL)
        primary.process.kill()
        return primary

    @contextmanager
    def secondaries_behind(self):
        """The secondaries, which get no writes for as long as the block lasts, yet are there.

        Were they stopped (SIGSTOP), the primary would step down soon after; and they would find in
        their sockets' buffers, when they go on, what it had sent them meanwhile.
        """
        behind = self.secondaries()
        for one in behind:
            point = {"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"}
            before = one.command(point)["count"]
            wait = {"waitForFailPoint": "stopReplProducer", "timesEntered": before + 1}
            one.command(wait | {"maxTimeMS": 20_000})
        try:
            yield behind
        finally:
            for one in behind:
                one.command({"configureFailPoint": "stopReplProducer", "mode": "off"})
