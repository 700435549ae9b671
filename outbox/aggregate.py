"""The aggregate: what changes as one, and is stored as one document."""

from typing import Any

from outbox.messages import DomainEvent


class Aggregate:
    """A consistency boundary that records what happened to it.

    Subclasses check their rules, change themselves and `record` a domain event. They know nothing
    of storage: the repository sets `version` and collects the events when it writes.

    `version` is the one that is stored: 0 before the first write, one more after each.
    """

    id: str
    version: int
    #: What the repository knows of the stored document; nobody else's business.
    stored: Any = None

    def __init__(self, id: str, version: int = 0) -> None:
        self.id = id
        self.version = version
        self._recorded: list[DomainEvent] = []

    def record(self, event: DomainEvent) -> None:
        """Note that `event` happened; it is published if, and only if, the aggregate is saved."""
        self._recorded.append(event)

    @property
    def recorded_events(self) -> tuple[DomainEvent, ...]:
        """The events that are not yet stored, in order."""
        return tuple(self._recorded)

    def collect_events(self) -> list[DomainEvent]:
        """The recorded events, in order, handed over once: when they are stored."""
        events, self._recorded = self._recorded, []
        return events
