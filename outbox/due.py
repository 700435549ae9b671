"""What is due for the threads of one process: each thing once, and with one thread at a time."""

from collections.abc import Iterable
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Due(Generic[T]):
    """Given out in the order in which it was added.

    What is added while a thread has it is given out again once that thread is done with it.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[T, None] = {}
        self._taken: set[T] = set()
        self._closed = False

    def add(self, things: Iterable[T]) -> None:
        with self._changed:
            self._waiting.update(dict.fromkeys(things))
            self._changed.notify_all()

    def take(self) -> T | None:
        """The next that no thread has; waits for it. None once it is closed."""
        with self._changed:
            while not self._closed:
                for thing in self._waiting:
                    if thing not in self._taken:
                        del self._waiting[thing]
                        self._taken.add(thing)
                        return thing
                self._changed.wait()
        return None

    def done(self, thing: T) -> None:
        """The thread that has taken it is done with it."""
        with self._changed:
            self._taken.discard(thing)
            self._changed.notify()

    def close(self) -> None:
        """Have all threads that wait, or come later, get None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)
