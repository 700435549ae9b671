"""Celery tasks: sweep and trim on beat, and the wake. The only module that imports Celery.

CELERY_BEAT_SCHEDULE = {
    "outbox-sweep": {
        "task": "outbox.tasks.sweep",
        "schedule": 1.0,
        "options": {"expires": 1.0},   # a tick that had to wait is not needed any more
    },
    "outbox-trim": {
        "task": "outbox.tasks.trim",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
}
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from celery import current_app, shared_task
from celery.signals import worker_process_shutdown
from kombu import Producer
from kombu.pools import producers

from outbox import outages, trimming
from outbox import wake as announcement
from outbox.conf import conf
from outbox.discovery import relays
from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.relay import Relay, sweep_all
from outbox.telemetry import telemetry


@shared_task(name="outbox.tasks.sweep", ignore_result=True)
def sweep() -> None:
    """Publish what is due in every collection. Safe to run at the same time as any other."""
    with _outages():
        sweep_all(relays())


@shared_task(name="outbox.tasks.sweep_partition", ignore_result=True)
def sweep_partition(collection: str, partition: int) -> None:
    """Publish what is due in one partition: what a wake asks for."""
    with _outages():
        # Before the sweep: a commit from now on announces itself again, so none is missed.
        try:
            announcement.heard(collection, partition)
        except BrokerUnavailable as error:
            outages.relays.began(error)
            raise
        Relay(collection).sweep_partition(partition)


@shared_task(name="outbox.tasks.trim", ignore_result=True)
def trim() -> None:
    """Trim the streams. Safe to run at the same time as any other."""
    # The relays tell when Redis is away, and in a minute this is done again.
    with suppress(BrokerUnavailable):
        trimming.trim()


def wake(collection: str, partition: int) -> None:
    """Queue a sweep of this partition, unless one is queued already (`OUTBOX_WAKE`).

    Raises what Redis or Celery's broker raise; `outbox.wake` deals with it.
    """
    if announcement.announce(collection, partition):
        # Dying here: nothing is queued, and nothing else will be until the key expires; the
        # sweep on beat finds the messages.
        with _producer() as producer:
            sweep_partition.apply_async(
                (collection, partition),
                expires=announcement.ANNOUNCED_FOR,
                retry=False,
                producer=producer,
            )


@worker_process_shutdown.connect
def _write_what_is_counted(**kwargs: object) -> None:
    # A child of the prefork pool ends without what the interpreter does at its end.
    telemetry.farewell()


@contextmanager
def _outages() -> Iterator[None]:
    """Let a sweep end early: all stays pending, and the next one comes soon."""
    # Of a broker that is away, the relays' circuit breaker tells.
    with suppress(BrokerUnavailable), outages.relays.told(StoreUnavailable):
        yield


@contextmanager
def _producer() -> Iterator[Producer]:
    """A producer of a pool of its own, whose connections don't wait long for the broker.

    Celery's own would wait for a broker that hangs for as long as the project lets it: for ever.
    """
    bounds = {"socket_timeout": conf.WAKE_TIMEOUT, "socket_connect_timeout": conf.WAKE_TIMEOUT}
    options = {**current_app.conf.broker_transport_options, **bounds}
    connection = current_app.connection_for_write(transport_options=options)
    with producers[connection].acquire(block=True, timeout=conf.WAKE_TIMEOUT) as producer:
        yield producer
