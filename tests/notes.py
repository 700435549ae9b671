"""A tiny application for the outbox's own tests: notes that are written, shared and torn up."""

from datetime import datetime
from typing import Any

from outbox import INTERNAL, Aggregate, DomainEvent, EventMapping, IntegrationEvent, to
from outbox.repository import DocumentRepository


class NoteWritten(DomainEvent, name="NoteWritten"):
    text: str


class NoteShared(DomainEvent, name="NoteShared"):
    with_whom: tuple[str, ...]


class NoteRead(DomainEvent, name="NoteRead"):
    """Stays inside."""


class NoteForgotten(DomainEvent, name="NoteForgotten"):
    """Nobody has mapped it."""


class NotePublished(IntegrationEvent, name="NotePublished", version="1.1"):
    note_text: str


class NoteOffered(IntegrationEvent, name="NoteOffered"):
    recipient: str


class Note(Aggregate):
    def __init__(self, id: str, text: str = "", label: str | None = None) -> None:
        super().__init__(id)
        self.text = text
        self.label = label

    def write(self, text: str, *, at: datetime | None = None) -> None:
        self.text = text
        self.record(NoteWritten(text=text, occurred_at=at))

    def share(self, *with_whom: str) -> None:
        self.record(NoteShared(with_whom=with_whom))

    def read(self) -> None:
        self.record(NoteRead())

    def forget(self) -> None:
        self.record(NoteForgotten())


class NoteRepository(DocumentRepository[Note]):
    collection = "notes"

    def to_document(self, aggregate: Note) -> dict[str, Any]:
        fields: dict[str, Any] = {"text": aggregate.text}
        if aggregate.label is not None:
            fields["label"] = aggregate.label
        return fields

    def from_document(self, stored: dict[str, Any]) -> Note:
        return Note(stored["_id"], stored["text"], stored.get("label"))


mapping = EventMapping(
    {
        NoteWritten: [
            to("notes", lambda event, note: NotePublished(note_text=event.text)),
            to("notes-internal", lambda event, note: NotePublished(note_text=event.text)),
        ],
        NoteShared: to(
            "notes", lambda event, note: [NoteOffered(recipient=one) for one in event.with_whom]
        ),
        NoteRead: INTERNAL,
    }
)


def repository() -> NoteRepository:
    return NoteRepository(mapping)
