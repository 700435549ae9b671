import pytest

from outbox import (
    EMBEDDED,
    RECORDED,
    TRANSACTIONAL,
    DomainError,
    IntegrationEvent,
    Subscriber,
)
from outbox.errors import MessagingError, UnreadableEvent
from tests.notes import NoteOffered, NotePublished, NoteWritten


def subscriber(**changes):
    fields = {"name": "letters", "topic": "notes", "effect": RECORDED, "handlers": {}}
    return Subscriber(**fields | changes)


@pytest.mark.parametrize("name", ["", "Letters", "1st", "a b", "a:b", "a.b", "-a"])
@pytest.mark.parametrize("field", ["name", "topic"])
def test_names_that_would_not_do_as_keys_are_refused(field, name):
    with pytest.raises(MessagingError, match="lower-case"):
        subscriber(**{field: name})


@pytest.mark.parametrize("effect", [EMBEDDED, RECORDED])
def test_only_what_is_transactional_has_a_collection(effect):
    with pytest.raises(MessagingError, match="projection"):
        subscriber(effect=effect, collection="titles")


def test_two_handlers_for_events_of_one_name_are_refused():
    class Older(IntegrationEvent, name="NotePublished", version="0.1"):
        pass

    with pytest.raises(MessagingError, match="upcaster"):
        subscriber(handlers={NotePublished: print, Older: print})
    subscriber(handlers={NotePublished: print, NoteOffered: print})


def test_how_often_an_event_is_tried_depends_on_its_error():
    class Refused(DomainError):
        """No."""

    plain = subscriber()
    assert plain.attempts_for(ValueError(), 10) == 10
    for error in (Refused(), DomainError(), UnreadableEvent(), MessagingError()):
        assert plain.attempts_for(error, 10) == 1
    own = subscriber(max_attempts=3, attempts={Refused: 5, OSError: 7})
    assert own.attempts_for(ValueError(), 10) == 3
    assert own.attempts_for(DomainError(), 10) == 1
    assert own.attempts_for(Refused(), 10) == 5
    assert own.attempts_for(FileNotFoundError(), 10) == 7


def takes_one(event):
    pass


def takes_two(event, delivery):
    pass


def takes_three(event, delivery, session):
    pass


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"effect": "embeded"}, "EMBEDDED, TRANSACTIONAL, RECORDED"),
        ({"start": "nwo"}, "beginning"),
        ({"max_attempts": 0}, "less than once"),
        ({"attempts": {ValueError: 0}}, "less than once"),
        ({"handlers": {NotePublished: None}}, "can't be called"),
        ({"handlers": {NotePublished: takes_one}}, "event, delivery"),
        ({"handlers": {NotePublished: takes_three}}, "event, delivery"),
        (
            {"handlers": {NotePublished: takes_two}, "effect": TRANSACTIONAL},
            "event, delivery, session",
        ),
        ({"handlers": {NoteWritten: takes_two}}, "integration events"),
        ({"handlers": {"NotePublished": takes_two}}, "integration events"),
    ],
)
def test_a_declaration_that_would_do_nothing_or_fail_later_is_refused(changes, text):
    with pytest.raises(MessagingError, match=text):
        subscriber(**changes)


def test_an_effect_may_be_given_by_its_value():
    assert subscriber(effect="embedded").effect is EMBEDDED
