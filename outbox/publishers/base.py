"""The publisher's port: one method between the relay and any broker."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from django.utils.module_loading import import_string

from outbox.conf import conf
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, PublishError

ToJson = Callable[[Envelope], str]


class Outcome(NamedTuple):
    """What became of one aggregate's messages: the first `published` are with the broker.

    `error` says why the next one isn't: a `PublishError` belongs to that message, a
    `BrokerUnavailable` to the broker. None when all were published.
    """

    published: int
    error: PublishError | BrokerUnavailable | None = None


class Publisher(Protocol):
    """Takes messages to the broker."""

    def publish(self, groups: Sequence[Sequence[Envelope]]) -> list[Outcome]:
        """Publish each group, the messages of one aggregate, in its order; an outcome each.

        Guarantees that a message is on its stream before the next of its group is tried, and
        that a group ends at its first failure: what is behind it is not published. Raises
        `BrokerUnavailable` when what became of the messages is not known.
        """
        ...


def envelope_function() -> ToJson:
    """The function that `OUTBOX_ENVELOPE` names."""
    found: ToJson = import_string(conf.ENVELOPE)
    return found


def framed(group: Sequence[Envelope], to_json: ToJson) -> tuple[list[str], PublishError | None]:
    """The texts of a group's messages up to the first that can't be framed, and why it can't."""
    texts = []
    for envelope in group:
        try:
            texts.append(to_json(envelope))
        except Exception as error:
            # Any exception: the function may be the project's own, and what it can't do with one
            # message must not hold up the others.
            return texts, PublishError(f"It can't be put into its envelope: {error!r}")
    return texts, None
