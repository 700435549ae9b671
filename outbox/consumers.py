"""The consumers of one process: a thread for each subscriber and stream."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from outbox import connections, deferred, outages, streams, transactions
from outbox.breaker import Breaker
from outbox.conf import conf
from outbox.consumer import Consumer
from outbox.discovery import bus, messaging
from outbox.errors import BrokerUnavailable, NoTransactions, StoreUnavailable
from outbox.indexes import ensure_indexes
from outbox.subscriber import Effect, Subscriber
from outbox.telemetry import telemetry

logger = logging.getLogger(__name__)


def consumers_of(subscriber: Subscriber) -> list[Consumer]:
    """A consumer for each stream of the subscriber's topic; they share its circuit breaker.

    Streams count that the topic had when `OUTBOX_TOPICS` said otherwise and that are still there.
    """
    breaker, upcasters, topic = Breaker(subscriber.name), messaging().upcasts, subscriber.topic
    there = [*streams.streams_of(topic), *streams.left_over(topic)]
    with connections.store_errors():
        deferred.rehome(
            subscriber.name, there, lambda event: streams.stream_of(topic, event.aggregate_id)
        )
    return [
        Consumer(subscriber, stream, bus=bus(), upcasters=upcasters, breaker=breaker)
        for stream in there
    ]


class Consumers:
    """Runs consumers in threads, and keeps the leases of those that are busy for long.

    Any number of processes may do so; what one doesn't get the lease of, it stands by for.
    """

    def __init__(self, subscribers: Iterable[Subscriber]) -> None:
        """Raises `NoTransactions` if one of the subscribers needs them, and `StoreUnavailable`."""
        chosen = list(subscribers)
        _refuse_without_transactions(chosen)
        # As `migrate` does; a service that only consumes may never have run that.
        ensure_indexes([], chosen)
        self.consumers = [one for subscriber in chosen for one in consumers_of(subscriber)]
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=one.run, name=f"{one.subscriber.name} {one.stream}")
            for one in self.consumers
        ]
        self._threads.append(threading.Thread(target=self._keep_leases, name="leases"))

    def start(self) -> None:
        logger.info("Consumers start: %s", self._said, extra={"action": "consume"})
        for thread in self._threads:
            # Daemons: a handler that hangs doesn't keep the process from ending, in the end.
            thread.daemon = True
            thread.start()

    def stop(self, within: float = 10.0) -> bool:
        """Let each finish the event in hand and release the others; whether all did in time."""
        for consumer in self.consumers:
            consumer.stop()
        deadline = time.monotonic() + within
        for thread in self._threads[:-1]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._ended.set()
        stuck = [thread.name for thread in self._threads[:-1] if thread.is_alive()]
        if stuck:
            # Whatever they do is delivered again to another consumer, when the lease runs out.
            logger.error(
                "Still busy after %s s, given up on: %s",
                within,
                ", ".join(stuck),
                extra={"action": "consume"},
            )
        logger.info("Consumers have stopped: %s", self._said, extra={"action": "consume"})
        return not stuck

    @property
    def _said(self) -> str:
        return ", ".join(sorted({one.subscriber.name for one in self.consumers}))

    def _keep_leases(self) -> None:
        """Renew the leases: a handler may take longer than one lasts."""
        while not self._ended.wait(conf.LEASE / 5):
            for consumer in self.consumers:
                if not consumer.is_active:
                    continue
                try:
                    with connections.store_errors():
                        consumer.lease.keep()
                except Exception as error:
                    # Any exception: the other leases want to be kept too, and this one runs out.
                    logger.warning(
                        "Lease of %s not renewed: %s",
                        consumer.stream,
                        error,
                        extra={"action": "consume", "subscriber": consumer.subscriber.name},
                    )


def started(subscribers: Sequence[Subscriber], stopped: threading.Event) -> Consumers | None:
    """Consumers that run; servers that are away are waited for. None if `stopped` before that.

    Raises `NoTransactions`.
    """
    while not stopped.is_set():
        for one in subscribers:
            telemetry.alive(f"consumer:{one.name}")
        try:
            consumers = Consumers(subscribers)
        except (StoreUnavailable, BrokerUnavailable) as error:
            outages.consumers.began(error)
            stopped.wait(1.0)
        else:
            consumers.start()
            return consumers
    return None


def _refuse_without_transactions(subscribers: Iterable[Subscriber]) -> None:
    wanting = [one.name for one in subscribers if one.effect is Effect.TRANSACTIONAL]
    if wanting:
        with connections.store_errors():
            if not transactions.supported(connections.database()):
                raise NoTransactions(
                    f"{', '.join(wanting)}: transactional, and this MongoDB has no transactions. "
                    "Make it a replica set, if only of one, or name the other subscribers."
                )
