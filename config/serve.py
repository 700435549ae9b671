"""`make serve`: everything running from this checkout, until it is told to stop.

Each process has its pid in `.run/NAME.pid` and its output in `.run/logs/NAME.log`; one that dies is
started again. Once all is ready, the addresses are in `.run/env`. On Ctrl-C, SIGTERM, SIGHUP or the
death of whoever started it, it leaves no process behind.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from config.interruption import Interrupted, Interruption
from config.processes import ROOT
from config.run_folder import AlreadyRunning, RunFolder

RUN_FOLDER = RunFolder(ROOT / ".run")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.serve")
    parser.add_argument("--parent", type=int, help="who runs this, and tells the addresses itself")
    parent = parser.parse_args().parent
    interruption, folder, ready = Interruption(parent), RUN_FOLDER, False
    # Imported when Ctrl-C is already looked after.
    from config.stack import StartError, start
    from config.supervisor import Supervisor

    try:
        folder.hold()
    except AlreadyRunning:
        where = folder.environment().get("WEB_URL", "starting")
        say(f"Already running from this checkout: pid {folder.pid('serve')}, {where}.")
        return 1
    folder.write_pid("serve", os.getpid())
    supervisor = Supervisor(folder, say)
    try:
        start(supervisor, folder, interruption, say)
        ready = True
        if parent is None:
            say(describe(folder.environment()))
        while True:
            supervisor.watch()
            interruption.pause(0.1)
    except Interrupted:
        say("Stopping.")
        return 0 if ready else 130
    except StartError as error:
        say(f"{error}")
        return 1
    finally:
        supervisor.stop()


def describe(addresses: Mapping[str, str]) -> str:
    """Where to find what, for a person."""
    web = addresses["WEB_URL"]
    return (
        f"\n  API docs   {web}/api/docs/"
        f"\n  Admin      {web}/admin/   user demo, password {addresses['DEMO_PASSWORD']}"
        f"\n  Addresses  {RUN_FOLDER.environment_file.relative_to(ROOT)}"
        "\n\nCtrl-C stops it.\n"
    )


def say(text: str) -> None:
    with suppress(OSError):  # nobody listens any more: no reason not to go on
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
