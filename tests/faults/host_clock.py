"""A host whose clock is wrong, for one process: put before all of its imports.

What a program reads of the host's clock is `time.time` and `datetime.now` with what is made of
them. The monotonic clock isn't shifted: nobody can set it on a real host either. (The system's own
libraries, and so the ids of events, go on with the right time.)
"""

SHIFT = """
import datetime, time
from functools import wraps
_seconds = {seconds}

def _shifted(read, by):
    return wraps(read)(lambda *args, **kwargs: read(*args, **kwargs) + by)

time.time = _shifted(time.time, _seconds)
time.time_ns = _shifted(time.time_ns, _seconds * 10**9)
_datetime = datetime.datetime

class _Meta(type):
    def __instancecheck__(cls, value):
        return isinstance(value, _datetime)

class _Shifted(_datetime, metaclass=_Meta):
    now = staticmethod(_shifted(_datetime.now, datetime.timedelta(seconds=_seconds)))
    utcnow = classmethod(lambda cls: cls.now(datetime.UTC).replace(tzinfo=None))
    today = classmethod(lambda cls: cls.now())

datetime.datetime = _Shifted
"""


def shifted(seconds: int) -> str:
    """Code after which the clock of this process is so many seconds ahead."""
    return SHIFT.format(seconds=seconds)
