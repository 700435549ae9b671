"""The supervisor: keeps named processes running, and leaves none behind."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from config.guard import Guard
from config.processes import Process, adopt_orphans
from config.run_folder import RunFolder

Launch = Callable[[], Process]

#: Seconds a process must have run for its death not to count as a failure to start.
STEADY = 10.0
LONGEST_DELAY = 30.0


@dataclass
class Supervised:
    """A process, how to start it again, and how often it has failed in a row."""

    launch: Launch
    process: Process
    is_server: bool = False
    failures: int = 0
    due: float | None = None
    """When to start it again; None while it runs."""


class Supervisor:
    """Runs named processes, their ids in the run folder, and starts again whichever dies.

    `watch` does one round and returns; call it a few times a second. `stop` ends all. If this
    process dies without calling it, the guard does, and the kernel (see `tether`).
    """

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._guard = Guard(folder.clear)
        self._running: dict[str, Supervised] = {}
        adopt_orphans()

    def start(self, name: str, launch: Launch, *, is_server: bool = False) -> Process:
        """Start a process; one that others need (`is_server`) is stopped after those."""
        process = self._launch(name, launch)
        self._running[name] = Supervised(launch, process, is_server)
        return process

    def watch(self) -> None:
        """Start again whatever has died, at once or, if it keeps failing, after a while."""
        for name, supervised in self._running.items():
            if supervised.due is None and supervised.process.exit_code is not None:
                self._bury(name, supervised)
            if supervised.due is not None and supervised.due <= monotonic():
                supervised.process = self._launch(name, supervised.launch)
                supervised.due = None
                self._say(f"{name} runs again, pid {supervised.process.pid}")

    def stop(self) -> None:
        """End all processes, the servers after those that use them, and clear the run folder."""
        for servers in (False, True):
            processes = [s.process for s in self._running.values() if s.is_server is servers]
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.see_it_stopped()
                self._guard.cross_out(process.pid)
        self._guard.dismiss()
        self._folder.clear()

    def _launch(self, name: str, launch: Launch) -> Process:
        process = launch()
        self._guard.enter(process.pid)
        self._folder.write_pid(name, process.pid)
        return process

    def _bury(self, name: str, supervised: Supervised) -> None:
        process = supervised.process
        code, killed = process.exit_code, process.killed
        # Children that outlive it (a killed Celery worker's do) would go on working beside the
        # new one's, and keep its port or files.
        process.kill()
        self._guard.cross_out(process.pid)
        if process.age > STEADY:
            supervised.failures = 0
        if killed:
            delay = 0.0
        else:
            supervised.failures += 1
            delay = min(0.25 * 2**supervised.failures, LONGEST_DELAY)
        supervised.due = monotonic() + delay
        how = "was killed" if killed else f"ended with code {code}"
        again = f", {supervised.failures} times in a row" if supervised.failures > 1 else ""
        later = f"; next try in {delay:.1f} s, see {process.log}" if delay > 1 else ""
        self._say(f"{name} {how}{again}{later}")
