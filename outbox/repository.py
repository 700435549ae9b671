"""The repository: loads aggregates, and saves each with its messages in one document write.

After Evans' Repository and Richardson's Transactional Outbox, with the outbox table folded into the
aggregate's own document: one write needs no transaction.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from outbox import clock, connections, context, document, signals, transactions
from outbox.aggregate import Aggregate
from outbox.conf import conf
from outbox.document import Document, relaying, saving
from outbox.errors import (
    AggregateAlreadyExists,
    AggregateNotFound,
    ConcurrencyError,
    MessagingError,
    OutboxFull,
    StaleVersion,
    Superseded,
)
from outbox.mapping import EventMapping
from outbox.messages import DomainEvent
from outbox.transactions import Session
from outbox.wake import wake

A = TypeVar("A", bound=Aggregate)

#: Called as `handler(event, aggregate, session)`.
WithinHandler = Callable[[Any, Any, Session], object]
Within = Mapping[type[DomainEvent], WithinHandler | Sequence[WithinHandler]]


class DocumentRepository(ABC, Generic[A]):
    """Keeps the aggregates of one collection.

    A subclass names its `collection`, adds `indexes` of its own if it has any, and says how its
    aggregate becomes top-level fields and back. `_id`, `version` and `outbox` are the repository's.

    Every method is one request to the server and raises `StoreUnavailable` when that fails.

    `within` is for the effect that must be there if, and only if, the change is: it names, for a
    class of domain event, the handler or handlers that are called before the write, in one MongoDB
    transaction with it. Only a save that records such an event is a transaction. What a handler
    raises aborts it all: nothing is stored, and the aggregate can be saved again. A handler passes
    the session on to whatever it does in MongoDB, leaves the aggregate as it is, and **may be run
    again** (see `transactions.run`). Without transactions, on a standalone server, such a save
    raises `NoTransactions`. On `mongomock://` the session is None, and nothing that the handlers
    did is undone: for fast tests only.
    """

    collection: ClassVar[str]
    indexes: ClassVar[Sequence[IndexModel]] = ()

    def __init__(self, mapping: EventMapping, within: Within | None = None) -> None:
        self.mapping = mapping
        self.within: dict[type[DomainEvent], tuple[WithinHandler, ...]] = {
            event: (handlers,) if callable(handlers) else tuple(handlers)
            for event, handlers in (within or {}).items()
        }

    @abstractmethod
    def to_document(self, aggregate: A) -> Document:
        """The aggregate's own fields, in new containers, as BSON can hold them."""

    @abstractmethod
    def from_document(self, stored: Document) -> A:
        """The aggregate of a stored document; `_id` and `version` are set by the repository."""

    def get(self, aggregate_id: str, *, expected_version: int | None = None) -> A:
        """Load an aggregate, without the messages that wait in its document.

        Raises `AggregateNotFound`; `NotAdoptable`; `AlreadyHandled` if the message being handled
        has changed this aggregate before; `StaleVersion` if it is not at `expected_version`;
        `Superseded` in a consumer that has been taken over from.
        """
        with connections.store_errors():
            found = self._documents.find_one({"_id": aggregate_id}, saving.LOADED)
        if found is None:
            raise AggregateNotFound(f"There is no {aggregate_id!r} in {self.collection}.")
        aggregate = self._load(found)
        saving.refuse_repeat(aggregate_id, found.get("outbox", {}), context.current())
        # After loading: whoever took over from this consumer has had no effect that isn't in here,
        # and what comes later changes the version.
        _refuse_if_superseded()
        if expected_version not in (None, aggregate.version):
            raise StaleVersion(
                f"{aggregate_id} is at version {aggregate.version}, not at the one asked for."
            )
        return aggregate

    def add(self, aggregate: A) -> None:
        """Store a new aggregate and its messages: one insert, all or nothing.

        Raises `AggregateAlreadyExists`, or `AlreadyHandled` if it was this very message that
        stored it; `OutboxFull` for more messages than may wait in a document.
        """
        fields, messages = self._fields(aggregate), self._messages(aggregate)
        with connections.store_errors():
            documents = self._documents
            at = clock.now(documents.database)
            new, after = saving.insert(aggregate.id, fields, messages, at, context.current())
            self._refuse_if_full(aggregate.id, {}, new)

            def insert(session: Session) -> None:
                try:
                    documents.insert_one(new, session=session)
                except DuplicateKeyError as error:
                    if (error.details or {}).get("keyPattern", {"_id": 1}) != {"_id": 1}:
                        raise  # a unique index of the app's own
                    self._refuse_repeat(aggregate.id)
                    raise AggregateAlreadyExists(
                        f"There is a {aggregate.id!r} in {self.collection} already."
                    ) from None

            self._write(insert, aggregate, fields)
        self._saved(aggregate, after, saving.pushed(new), version=1)

    def save(self, aggregate: A) -> None:
        """Store what changed and the new messages: one update, all or nothing.

        Raises `ConcurrencyError` if somebody saved the aggregate since it was loaded; `OutboxFull`
        if so much waits in the document that there is no room for more.
        """
        if aggregate.stored is None:
            raise ValueError(f"{aggregate.id} was neither loaded nor added here: use add().")
        fields, messages = self._fields(aggregate), self._messages(aggregate)
        with connections.store_errors():
            documents = self._documents
            at = clock.now(documents.database)
            update, after = saving.update(
                aggregate.version, aggregate.stored, fields, messages, at, context.current()
            )
            if len(saving.pushed(update)) > conf.MAX_PENDING:  # no document would take so many
                self._refuse_if_full(aggregate.id, {}, update)
            guard = saving.guard(aggregate.id, aggregate.version, update)

            def change(session: Session) -> None:
                # Never a replace: the relay may have pulled messages since the load, and a replace
                # would bring them back.
                result = documents.update_one(guard, update, session=session)
                if result.matched_count == 0:
                    self._refuse_if_full_now(aggregate, update)
                    raise ConcurrencyError(
                        f"{aggregate.id} has changed since version {aggregate.version}."
                    )

            self._write(change, aggregate, fields)
        self._saved(aggregate, after, saving.pushed(update), version=aggregate.version + 1)

    def answer(self, aggregate_id: str, message_id: str) -> A:
        """The aggregate as the repeatable message `message_id` left it.

        As it is now if that was too long ago to be remembered (`OUTBOX_ANSWERS`).
        """
        with connections.store_errors():
            found = self._documents.find_one({"_id": aggregate_id}, {"outbox.pending": 0})
        if found is None:
            raise AggregateNotFound(f"There is no {aggregate_id!r} in {self.collection}.")
        return self._load(saving.answered(found, message_id) or found)

    @property
    def _documents(self) -> Collection[Document]:
        return connections.collection(self.collection)

    def _fields(self, aggregate: A) -> Document:
        fields = self.to_document(aggregate)
        if taken := document.RESERVED & fields.keys():
            raise ValueError(
                f"{type(self).__name__}.to_document returned {', '.join(sorted(taken))}: "
                "these are the repository's own; give the aggregate's fields other names."
            )
        return fields

    def _messages(self, aggregate: A) -> list[Any]:
        return self.mapping.map(aggregate.recorded_events, aggregate)

    def _write(self, write: Callable[[Session], None], aggregate: A, fields: Document) -> None:
        """Write; if there are handlers within, after them and in one transaction with them."""
        events = aggregate.recorded_events if self.within else ()
        calls = [(handler, event) for event in events for handler in self._within(event)]
        if not calls:
            write(None)
            return

        def all_of_it(session: Session) -> None:
            for handler, event in calls:
                handler(event, aggregate, session)
            # It would be lost, or be done again with each run.
            if aggregate.recorded_events != events or self._fields(aggregate) != fields:
                raise MessagingError(
                    f"A handler within the save of {aggregate.id} changed it: that is for the "
                    "aggregate itself, before it is saved."
                )
            write(session)

        transactions.run(all_of_it)

    def _within(self, event: DomainEvent) -> Sequence[WithinHandler]:
        return self.within.get(type(event), ())

    def _load(self, found: Document) -> A:
        version = saving.version_of(found)
        aggregate = self.from_document(found)
        aggregate.id, aggregate.version = found["_id"], version
        aggregate.stored = saving.stored(found, self._fields(aggregate))
        return aggregate

    def _saved(
        self, aggregate: A, after: saving.Stored, pending: list[Document], *, version: int
    ) -> None:
        aggregate.version, aggregate.stored = version, after
        # Only now: a save that failed may be tried again, and must not have lost its events.
        aggregate.collect_events()
        if pending:
            # Dying here: the next sweep finds what this wake would have announced.
            wake(self.collection, after.partition)
            messages = [relaying.envelope(aggregate.id, entry) for entry in pending]
            signals.messages_stored.send_robust(self.collection, messages=messages)

    def _refuse_if_full(self, aggregate_id: str, stored: Document, change: Document) -> None:
        try:
            saving.refuse_if_full(aggregate_id, stored, change)
        except OutboxFull:
            signals.outbox_full.send_robust(self.collection, aggregate_id=aggregate_id)
            raise

    def _refuse_if_full_now(self, aggregate: A, update: Document) -> None:
        found = self._documents.find_one({"_id": aggregate.id})
        if found is not None and saving.version_of(found) == aggregate.version:
            self._refuse_if_full(aggregate.id, found, update)

    def _refuse_repeat(self, aggregate_id: str) -> None:
        with connections.store_errors():
            shown = {"outbox.handled": 1, "outbox.consumed": 1}
            found = self._documents.find_one({"_id": aggregate_id}, shown) or {}
        saving.refuse_repeat(aggregate_id, found.get("outbox", {}), context.current())


def _refuse_if_superseded() -> None:
    inbox = context.current().inbox
    if inbox is not None and not inbox.is_current():
        raise Superseded("Another consumer has taken over the stream of this event.")
