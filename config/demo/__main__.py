"""`make demo`: runs `serve`, shows what it does, and keeps it running until Ctrl-C.

With `EXIT=1` it ends after the account: with 0 if no event is missing, invented or out of order,
and the consumers have made of them what they should.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from config.interruption import Interrupted, Interruption
from config.processes import ROOT
from config.run_folder import RunFolder
from config.serve import RUN_FOLDER, describe

if TYPE_CHECKING:
    from rich.console import Console


class ServeEnded(Exception):
    """It said why on its own output."""


def main() -> int:
    interruption, code = Interruption(), 130
    # Out of the terminal's reach: Ctrl-C is ours, and we tell it. If we can't, it sees us die.
    command = [sys.executable, "-m", "config.serve", "--parent", str(os.getpid())]
    serve = subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        # Imported while the servers start.
        from config.demo.demonstration import console, demonstrate

        threading.Thread(target=_pass_on, args=(serve, console), daemon=True).start()
        environment = _wait_until_ready(serve, RUN_FOLDER, interruption)
        code = 0 if demonstrate(environment, RUN_FOLDER, interruption) else 1
        if not os.environ.get("EXIT"):
            console.print(describe(environment), highlight=False, soft_wrap=True)
            while serve.poll() is None:
                interruption.pause(0.2)
            raise ServeEnded
    except Interrupted:
        pass
    except ServeEnded:
        code = 1
    finally:
        serve.terminate()
        serve.wait()
    return code


def _wait_until_ready(
    serve: "subprocess.Popen[str]", folder: RunFolder, interruption: Interruption
) -> dict[str, str]:
    while not (folder.pid("serve") == serve.pid and folder.environment()):
        if serve.poll() is not None:
            raise ServeEnded
        interruption.pause(0.1)
    return folder.environment()


def _pass_on(serve: "subprocess.Popen[str]", console: "Console") -> None:
    """What it says goes through our console, so that it doesn't tear the live table apart."""
    assert serve.stdout is not None  # noqa: S101 - it is a pipe
    try:
        for line in serve.stdout:
            console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)
    except SystemExit:  # from rich: nobody reads what we write any more
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
