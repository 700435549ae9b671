"""How long a run is: a short form goes with every `make test`, FAULTS=long with `make faults`."""

import os

IS_LONG = os.environ.get("FAULTS") == "long"


def times(short: int, long: int) -> int:
    """How often to do something."""
    return long if IS_LONG else short


#: Seconds that it may take until everything is published, or consumed.
PATIENCE = times(30, 300)
