"""The relays of one process that runs for long: woken by each commit, with sweeps as a safety net.

A thread watches the change stream, one sweeps once a second, and some relay; where there is no
change stream, or while there is none, the sweeps come more often. What the stream tells of is
published from what it tells, without a query, if it is sure that nobody else has published it. The
leases are those of the sweep on Celery beat: any number of both may run side by side.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event, Thread
from typing import NamedTuple

from pymongo.errors import PyMongoError

from outbox import change_stream, clock, connections, outages, signals
from outbox.batch import CLOCK_TOLERANCE
from outbox.change_stream import Commit
from outbox.document import Document, relaying
from outbox.due import Due, Look
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, MissingIndex, NoChangeStream, StoreUnavailable
from outbox.lease import Lease
from outbox.relay import Relay, lease
from outbox.telemetry import telemetry

logger = logging.getLogger(__name__)

#: Seconds between two sweeps while the change stream tells of commits.
SWEEP_EVERY = 1.0
#: And at least and at most while it doesn't: at once after something was found, then less and less.
POLL_MIN, POLL_MAX = 0.01, 0.5
#: Seconds that a partition is drained for before another has its turn.
SLICE = 1.0
#: Seconds that a lease is kept for the next message.
KEEP = 3.0
#: Seconds that a partition is left alone in which something has gone wrong.
REST = 1.0
#: Messages that are remembered as published: more than the change stream is ever behind by.
LATELY = 20_000
#: Seconds until a change stream that broke off is tried again.
WATCH_AGAIN = 1.0
#: Characters of payload that a commit may bring for the relays to hold it until they come to it;
#: what is larger is looked up then.
SMALL = 16_000


class Place(NamedTuple):
    """A partition of a collection."""

    collection: str
    partition: int


class Held(NamedTuple):
    """A lease that is kept: since when, by the server's clock, and when it was needed last."""

    lease: Lease
    since: datetime
    used: float


class Relays:
    """Publishes what is due, until it is stopped. Any number of processes may do so.

    A lease is kept for some seconds after the last message, so that the next is published without
    asking for it; a process with more to do than threads to do it gives each back at once, so that
    others can help.
    """

    def __init__(self, relays: Sequence[Relay], threads: int = 2) -> None:
        self._relays = {relay.collection: relay for relay in relays}
        self._due: Due[Place] = Due()
        self._held: dict[Place, Held] = {}
        self._stopped = Event()
        #: Whether a change stream tells of each commit; otherwise MongoDB is polled.
        self.is_watching = False
        self._poll = POLL_MIN
        #: When it was told last that there is no change stream; and whether nothing has been told
        #: since of one that is there.
        self._told_at: float | None = None
        self._told_of_polling = True
        self._lately: dict[str, None] = {}
        self._rests_until: dict[Place, float] = {}
        self.published = 0
        named: list[tuple[str, Callable[[], None]]] = [
            ("watch", self._watch),
            ("sweep", self._sweep),
            *((f"relay {number}", self._relay) for number in range(1, threads + 1)),
        ]
        # Daemons: a thread that hangs doesn't keep the process from ending, in the end.
        self._threads = [Thread(target=run, name=name, daemon=True) for name, run in named]

    def start(self) -> None:
        logger.info("Relays start: %s", ", ".join(self._relays), extra={"action": "relay"})
        signals.messages_published.connect(self._remember)
        for thread in self._threads:
            thread.start()

    def stop(self, within: float = 10.0) -> bool:
        """Let each finish its batch, and give the leases back; whether all did in time."""
        self._stopped.set()
        self._due.close()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if busy := [thread.name for thread in self._threads if thread.is_alive()]:
            # Their leases run out by themselves.
            logger.error("Still busy: %s", ", ".join(busy), extra={"action": "relay"})
            return False
        with suppress(StoreUnavailable), connections.store_errors():
            for held in self._held.values():
                held.lease.release()
        self._held.clear()
        signals.messages_published.disconnect(self._remember)
        logger.info("Relays have stopped.", extra={"action": "relay"})
        return True

    # What is due.

    def _watch(self) -> None:
        """Take each commit as a wake; while there is no change stream, the sweeps do instead."""
        while not self._stopped.is_set():
            try:
                with connections.store_errors():
                    self._watch_commits()
            except NoChangeStream as error:
                logger.warning("MongoDB is polled: %s", error, extra={"action": "relay"})
                return
            except Exception as error:
                # Any exception: without this thread, nobody would open the stream again.
                self._broke_off(error)
                self._stopped.wait(WATCH_AGAIN)

    def _broke_off(self, error: Exception) -> None:
        self.is_watching = False
        now = time.monotonic()
        if self._told_at is None or now > self._told_at + outages.REMIND_AFTER:
            self._told_at, self._told_of_polling = now, True
            logger.warning(
                "There is no change stream, MongoDB is polled meanwhile: %s",
                error,
                exc_info=not isinstance(error, PyMongoError | StoreUnavailable),
                extra={"action": "relay"},
            )

    def _watch_commits(self) -> None:
        for commit in change_stream.commits(list(self._relays), self._stopped):
            if not self.is_watching:
                # What was committed before the stream was open is found by a sweep.
                self.is_watching = True
                self._sweep_once()
                if self._told_of_polling:
                    self._told_of_polling = False
                    logger.info("Woken by the change stream.", extra={"action": "relay"})
            if commit is not None:
                self._note(commit)

    def _note(self, commit: Commit) -> None:
        place = Place(commit.collection, commit.partition)
        if commit.document is None or relaying.size(commit.document) > SMALL:
            self._due.add(place, look=True)
        elif relaying.pending(commit.document):
            self._due.add(place, commit.document)

    def _sweep(self) -> None:
        """Look for what is due once a second; more often while nobody tells of it."""
        while not self._stopped.wait(SWEEP_EVERY if self.is_watching else self._poll):
            found = self._sweep_once()
            self._poll = POLL_MIN if found else min(POLL_MAX, 2 * self._poll)

    def _sweep_once(self) -> int:
        telemetry.alive("relay")
        found: list[Place] = []
        for collection, relay in self._relays.items():
            if relay.rests_for:
                continue
            with _reported(collection):
                found += (Place(collection, number) for number in relay.due_partitions())
        # Processes that start at the same moment shouldn't queue up at the same partition.
        random.shuffle(found)
        for place in found:
            self._due.add(place, look=True)
        for place in list(self._held):
            self._due.add(place)  # its lease is renewed, or given back
        return len(found)

    # What is done about it.

    def _relay(self) -> None:
        while (taken := self._due.take()) is not None:
            place, look = taken
            try:
                if time.monotonic() < self._rests_until.get(place, 0.0):
                    continue  # a sweep comes when it is over
                self._rests_until[place] = time.monotonic() + REST
                with _reported(f"{place.collection}, partition {place.partition}"):
                    self._publish(place, look)
                    del self._rests_until[place]
            finally:
                self._due.done(place)

    def _publish(self, place: Place, look: Look) -> None:
        relay = self._relays[place.collection]
        if relay.rests_for:
            return  # a sweep comes when it is over
        held = self._held.pop(place, None)
        if held is None and look.is_empty:
            return
        if held is None or not held.lease.keep():
            if held is not None:
                held.lease.release()  # somebody has claimed it, and waits
            held = self._acquired(place)
            if held is None:
                return  # its holder finds what is due, or a sweep does
            look = look._replace(for_more=True)
        ends, keep = time.monotonic() + SLICE, False
        try:
            if look.for_more or not self._are_new(look.things, held):
                published = relay.drain(place.partition, held.lease, ends)
            else:
                published = relay.publish(look.things) if look.things else 0
            now = time.monotonic()
            if published:
                self.published += published
                held = held._replace(used=now)
            keep = now < ends and now < held.used + KEEP and not self._due.is_behind
            if keep:
                self._held[place] = held
        finally:
            if not keep:
                held.lease.release()
        # Once more, now that others can have the lease: a commit may have been announced after the
        # last find to a relay that was turned away at the lease.
        if not keep and relay.is_due(place.partition):
            self._due.add(place, look=True)

    def _acquired(self, place: Place) -> Held | None:
        mine = lease(*place)
        if not mine.acquire():
            return None
        return Held(mine, clock.now(connections.database()), time.monotonic())

    def _are_new(self, documents: Sequence[Document], held: Held) -> bool:
        """Whether nobody has published anything of these documents, and each is there once.

        What was committed before the lease was taken, another may have; what since, this process.
        """
        oldest = held.since + CLOCK_TOLERANCE
        return len({one["_id"] for one in documents}) == len(documents) and all(
            isinstance(due_at := entry.get("due_at"), datetime)
            and due_at > oldest
            and entry.get("event_id") not in self._lately
            for one in documents
            for entry in relaying.pending(one)
        )

    def _remember(self, messages: Sequence[Envelope], **kwargs: object) -> None:
        """The change stream may be about to tell of what was found without it."""
        self._lately.update(dict.fromkeys(message.event_id for message in messages))
        while len(self._lately) > LATELY:
            with suppress(KeyError, RuntimeError):  # another thread does the same
                del self._lately[next(iter(self._lately))]


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """Tell of what goes wrong, and go on: all stays pending, and a sweep comes soon."""
    # Of a broker that is away, the relays' circuit breaker tells.
    try:
        with (
            suppress(BrokerUnavailable),
            outages.relays.told(StoreUnavailable),
            connections.store_errors(),
        ):
            yield
    except MissingIndex as error:
        logger.error("%s: %s", what, error, extra={"action": "relay"})
    except Exception:
        # Any exception: what is wrong in one partition or collection is not the others' fault.
        logger.exception("Relaying %s failed.", what, extra={"action": "relay"})
