"""The operator: who runs a command, for the record."""

import getpass
import os


def operator() -> str:
    """The user's name; a container's user may be a number without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
