"""What is due, for the threads of one process: each place is with one thread at a time."""

from threading import Condition
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

#: Things that are noted of a place before it has to be looked at instead.
MOST = 500


class Look(NamedTuple):
    """What is known of a place that is due: these `things`, and if more may be there."""

    things: tuple[Any, ...] = ()
    for_more: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.things or self.for_more)


class Due(Generic[T]):
    """Places are given out in the order in which they became due.

    What becomes due while a thread is there is given out once that thread is done.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[T, Look] = {}
        self._taken: set[T] = set()
        self._idle = 0
        self._closed = False

    def add(self, place: T, *things: Any, look: bool = False) -> None:
        """Note these things of a place, or that it is to be looked for more there."""
        with self._changed:
            before = self._waiting.get(place, Look())
            noted = before.things + things
            more = before.for_more or look or len(noted) > MOST
            self._waiting[place] = Look(noted[:MOST], more)
            self._changed.notify()

    def take(self) -> tuple[T, Look] | None:
        """The next place where no thread is, and what is due there; waits. None once closed."""
        with self._changed:
            while not self._closed:
                for place in self._waiting:
                    if place not in self._taken:
                        self._taken.add(place)
                        return place, self._waiting.pop(place)
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        return None

    def done(self, place: T) -> None:
        """The thread that has taken it is done with it."""
        with self._changed:
            self._taken.discard(place)
            self._changed.notify()

    def close(self) -> None:
        """Have all threads that wait, or come later, get None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_behind(self) -> bool:
        """Whether more is due than there are threads that wait for it."""
        with self._changed:
            return sum(not look.is_empty for look in self._waiting.values()) > self._idle
