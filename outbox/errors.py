"""Every exception the outbox raises, by what the reader has to do about it.

OutboxError
├── AggregateNotFound          the caller asked for an id that is not there
├── AggregateAlreadyExists     the caller added an id twice
├── ConcurrencyError           somebody else saved first: load and try again
│   └── StaleVersion           the caller insists on a version that is gone
├── AlreadyHandled             this command or event has had its effect before
├── MessageIdReused            the caller gave one id to two different messages
├── NotAdoptable               a document of other origin has no room for the outbox
├── DomainError                a business rule says no (raise your own subclasses)
├── MessagingError             the messaging tables are wrong: a programmer's error
│   ├── NoHandler
│   ├── DuplicateHandler
│   └── UnmappedEvent
├── UnreadableEvent            what lies on the stream is no event, or of an unknown version
├── ProcessDied                an event's last attempt ended with the process
├── GapPassed                  an event came when others had gone on without it
├── NoSuchMessage              none of this id is pending: published, or discarded
├── AlreadyDone                what this operation id stands for has been asked for before
├── InvalidCursor              a listing is to go on from where it can't have ended
├── Superseded                 another consumer has taken over; this one gives up its batch
├── RebuildRefused             a read model can't be rebuilt now, and wasn't changed
├── OutboxFull                 too much waits in the document: the relay must catch up first
├── StoreUnavailable           MongoDB can't be reached or doesn't answer in time
├── MissingIndex               the relay's index isn't there yet
├── TransactionGivenUp         a transaction failed as often as it may be tried
├── NoTransactions             this MongoDB has none, and something declared needs them
├── NoChangeStream             this MongoDB has none: it is polled instead
├── BrokerUnavailable          the broker can't be reached, or what became of the
│   │                          messages is not known
│   └── StreamUnavailable      the broker is there, and won't serve this stream
└── PublishError               the broker refused this one message

An exception raised without arguments says its docstring's first line.
"""

from datetime import datetime
from typing import Any


class OutboxError(Exception):
    """Something in the outbox went wrong."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or ((self.__doc__ or "").strip().partition("\n")[0],)))


class AggregateNotFound(OutboxError):
    """No aggregate with this id is stored."""


class AggregateAlreadyExists(OutboxError):
    """An aggregate with this id is stored already."""


class ConcurrencyError(OutboxError):
    """The aggregate was changed by somebody else since it was loaded."""


class StaleVersion(ConcurrencyError):
    """The aggregate is no longer at the version that the command was meant for."""


class AlreadyHandled(OutboxError):
    """This command or event has been applied to the aggregate before."""

    def __init__(self, aggregate_id: str, message_id: str) -> None:
        super().__init__(f"{aggregate_id} has been changed by {message_id} before.")
        self.aggregate_id = aggregate_id
        self.message_id = message_id


class MessageIdReused(OutboxError):
    """This message id has been used before, for a different message."""


class NotAdoptable(OutboxError):
    """This document can't hold an outbox."""


class DomainError(OutboxError):
    """A business rule does not allow this."""


class MessagingError(OutboxError):
    """The messaging tables of the installed apps don't fit together."""


class NoHandler(MessagingError):
    """No app handles this command."""


class DuplicateHandler(MessagingError):
    """Two handlers are declared for one command."""


class UnmappedEvent(MessagingError):
    """A domain event was recorded that no mapping names."""


class UnreadableEvent(OutboxError):
    """What lies on the stream can't be read as an event that a handler knows."""


class ProcessDied(OutboxError):
    """The process died while it handled this event, as often as it may be tried."""


class GapPassed(OutboxError):
    """This event came after its subscriber had gone on without it."""


class NoSuchMessage(OutboxError):
    """No pending message has this id: it has been published, or discarded."""


class AlreadyDone(OutboxError):
    """This operation has been asked for before, under the same id; it isn't done again.

    `action` is what was done, `by` whom and `at` what time; `done` is what came of it, None while
    it is under way, or if its process died.
    """

    def __init__(self, action: str, by: str, at: datetime, done: Any = None) -> None:
        outcome = f"{done.count} done" if done else "under way, or broken off"
        super().__init__(f"{by or 'Somebody'} has asked for this {action} before: {outcome}.")
        self.action = action
        self.by = by
        self.at = at
        self.done = done

    @property
    def count(self) -> int | None:
        """How many messages it was done to, if that is known."""
        return self.done.count if self.done else None


class InvalidCursor(OutboxError):
    """This cursor is none that a listing has given."""


class Superseded(OutboxError):
    """Another consumer has dealt with some of these events meanwhile."""


class RebuildRefused(OutboxError):
    """This read model can't be rebuilt; nothing was changed."""


class OutboxFull(OutboxError):
    """Too much waits in this aggregate's document to be published; nothing was stored."""


class StoreUnavailable(OutboxError):
    """MongoDB is away or did not answer in time; nothing is known to be stored."""


class MissingIndex(OutboxError):
    """The outbox's index is missing: run `manage.py migrate` or `manage.py outbox_indexes`."""


class TransactionGivenUp(OutboxError):
    """The transaction was begun again and again; a handler may pass over an error in it."""


class NoTransactions(OutboxError):
    """A standalone MongoDB has no transactions: make it a replica set, if only of one."""


class NoChangeStream(OutboxError):
    """This MongoDB has no change streams: they take a replica set, if only of one."""


class PublishError(OutboxError):
    """The broker refused this message."""


class BrokerUnavailable(OutboxError):
    """The broker is away, or its answer was lost: the messages may or may not be on the stream."""


class StreamUnavailable(BrokerUnavailable):
    """The broker is there and won't serve this stream: a key of another type, a missing right."""
