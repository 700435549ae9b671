"""The transactional effect: what handlers write and the inbox's notes are one transaction."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from outbox import connections, transactions
from outbox.conf import conf
from outbox.delivery import Delivery
from outbox.effects.base import EffectRunner, GoOn, Notes, Result
from outbox.errors import NoTransactions, StoreUnavailable, Superseded, UnreadableEvent
from outbox.lease import Lease

#: Of a transaction's time, so much is for handlers that run in it: the next goes into another one.
SHARE = 0.25

#: How often handlers that are given the session are run before the transaction is given up.
MOST_RUNS = 20

OPERATIONS = (InsertOne, UpdateOne, UpdateMany, ReplaceOne, DeleteOne, DeleteMany)

#: An event with the write operations that a projection's handler has returned for it.
Prepared = tuple[Delivery, list[Any]]


class Transactional(EffectRunner):
    """One transaction for all of the events, or for as many as will go into one.

    An event that fails is taken out and the others are tried again without it.
    """

    #: Its own for as long as it lives, so that a successor can end what it may leave behind.
    _session: ClientSession | None = None
    #: The position of the event whose handler runs inside the transaction.
    _at: int | None = None

    def _run(self, deliveries: Sequence[Delivery], notes: Notes, go_on: GoOn) -> Result:
        result, prepared, going_on = Result(), list[Prepared](), go_on()
        for delivery in deliveries:
            if delivery.aggregate_id in result.blocked or not going_on:
                result.leave(delivery)
                continue
            if len(prepared) % 20 == 19:
                going_on = go_on()
            try:
                prepared.append((delivery, self.operations(delivery)))
            except Exception as error:
                # Any exception: it is the handler's, and the policy for it is the consumer's.
                self.failed(result, delivery, error)
                going_on = go_on()
        self._write(prepared, notes, result, go_on, refused=set())
        return result

    def take_over(self, lease: Lease) -> None:
        if self._session is None:
            self._session = connections.database().client.start_session()
        # A copy: the session's own is given back to the driver's pool one day.
        mine = dict(self._session.session_id)
        before = lease.succeed(mine)
        if before and before != mine:
            transactions.end(before)

    def operations(self, delivery: Delivery) -> list[Any]:
        """What a projection's handler wants written for this event; raises what it raises."""
        if not self.subscriber.is_projection or not self.wants(delivery):
            return []
        wanted = "a projection's handler returns write operations (pymongo.UpdateOne …)."
        return self.several(delivery, OPERATIONS, wanted)

    def _write(
        self,
        prepared: list[Prepared],
        notes: Notes,
        result: Result,
        go_on: GoOn,
        refused: set[str],
    ) -> None:
        """Write these, or as many halves of them as it takes to leave out those that fail.

        `refused` are the aggregates of which an event has failed here: those behind it wait.
        """
        # A handler that passes over an error of MongoDB's leaves a transaction that is no more, and
        # would be run again and again.
        most = None if self.subscriber.is_projection else MOST_RUNS
        todo = [one for one in prepared if one[0].aggregate_id not in refused]
        result.left += [one for one, _ in prepared if one.aggregate_id in refused]
        while todo:
            events = [delivery for delivery, _ in todo]
            try:
                write = partial(self._in_one, todo, events, notes, go_on)
                done = transactions.run(write, within=self._session, most=most)
            except NoTransactions:
                raise
            except Exception as error:
                # Any exception: MongoDB's or a handler's. Whose fault it is shows when halved.
                if isinstance(error, StoreUnavailable) and self._at is None:
                    raise
                if isinstance(error, Superseded):
                    if notes.are_stale(events):
                        raise
                    error = UnreadableEvent("Its id is another event's, which has been handled.")
                if len(todo) == 1:
                    self.failed(result, events[0], error)
                    refused.add(events[0].aggregate_id)
                    return
                blamed = self._blamed(error, todo)
                middle = len(todo) // 2 if blamed is None else blamed
                for part in (todo[:middle], todo[middle : middle + 1], todo[middle + 1 :]):
                    if go_on():
                        self._write(part, notes, result, go_on, refused)
                    else:
                        self._leave(part, result, refused)
                return
            notes.taken(done)
            self.succeeded()
            todo = todo[len(done) :]
            if todo and not go_on():
                self._leave(todo, result, refused)
                return

    def _leave(self, some: list[Prepared], result: Result, refused: set[str]) -> None:
        result.left += [delivery for delivery, _ in some]
        refused.update(delivery.aggregate_id for delivery, _ in some)

    def _in_one(
        self,
        todo: list[Prepared],
        done: list[Delivery],
        notes: Notes,
        go_on: GoOn,
        session: ClientSession,
    ) -> list[Delivery]:
        """Those of the events that went into the transaction: as many as there was time for."""
        self._at = None
        if self.subscriber.is_projection:
            operations = [operation for _, several in todo for operation in several]
            if operations:
                name = str(self.subscriber.collection)
                connections.collection(name).bulk_write(operations, session=session)
        else:
            enough = time.monotonic() + conf.MONGODB_TIMEOUT * SHARE
            for self._at, delivery in enumerate(done):
                if self._at and (time.monotonic() > enough or not go_on()):
                    done = done[: self._at]
                    break
                if self.wants(delivery):
                    returned = self.call(delivery, session)
                    if isinstance(returned, OPERATIONS):
                        wanted = "nobody writes it; give the subscriber a `collection`."
                        self.refuse(returned, delivery, wanted)
            self._at = None
        # Dying anywhere here, or before the commit: nothing has happened; delivered again.
        notes.take(done, session)
        return done

    def _blamed(self, error: Exception, todo: list[Prepared]) -> int | None:
        """The position of the event that failed, if that is known."""
        if not self.subscriber.is_projection:
            blamed, self._at = self._at, None
            return blamed
        if not isinstance(error, BulkWriteError):
            return None
        details: Any = error.details
        refused = details["writeErrors"][0]["index"] if details["writeErrors"] else -1
        owners = [position for position, (_, several) in enumerate(todo) for _ in several]
        return owners[refused] if 0 <= refused < len(owners) else None
