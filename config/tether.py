"""Runs a command that dies with the process that wanted it: `python tether.py PARENT COMMAND…`.

The kernel keeps the promise (Linux only), also when that process is killed with SIGKILL. A script
of its own and not a `preexec_fn`, because that isn't safe once the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the promise was made
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell wanted
    except OSError as error:
        # 127 is what a shell or the dynamic linker says of a program that can't be run.
        sys.stderr.write(f"{command[0]} can't be run: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
