"""A Celery bootstep: consumers inside a worker, for those who don't want another process. Opt-in.

    from outbox.bootstep import ConsumeStep

    app.steps["worker"].add(ConsumeStep)

They run in threads of the worker's main process, beside its pool and whatever kind that is; started
in several workers, they stand by for each other.
"""

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from celery import bootsteps

from outbox.consumers import Consumers, started
from outbox.discovery import subscribers


class ConsumeStep(bootsteps.StartStopStep):
    """Starts the consumers with the worker, and ends them with it.

    Of all subscribers; a subclass may name some in `names`. Servers that are away are waited for.
    """

    #: After the pool has forked its processes: threads don't survive that.
    requires = ("celery.worker.components:Pool",)

    names: ClassVar[Sequence[str]] = ()

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopped = threading.Event()
        self._consumers: Consumers | None = None
        self._starting = threading.Thread(target=self._start, name="consumers", daemon=True)

    def start(self, parent: Any) -> None:
        """Called by Celery. Raises `MessagingError` for names that no subscriber has."""
        subscribers(self.names)
        self._starting.start()

    def stop(self, parent: Any) -> None:
        """Called by Celery, also when it is to be quick about it."""
        self._stopped.set()
        if self._starting.is_alive():
            self._starting.join(timeout=1.0)
        if self._consumers is not None:
            self._consumers.stop()

    terminate = stop

    def _start(self) -> None:
        self._consumers = started(subscribers(self.names), self._stopped)
