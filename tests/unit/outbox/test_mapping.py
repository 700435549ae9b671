from datetime import UTC, datetime

import pytest

from outbox import EventMapping, to
from outbox.errors import MessagingError, UnmappedEvent
from tests.notes import Note, NoteForgotten, NoteOffered, NoteRead, NoteShared, NoteWritten, mapping


def mapped(*events):
    return [(one.topic, one.message) for one in mapping.map(events, Note("n1"))]


def test_one_event_goes_to_as_many_topics_as_it_has_routes():
    assert [topic for topic, _ in mapped(NoteWritten(text="a"))] == ["notes", "notes-internal"]


def test_one_mapper_may_make_any_number_of_messages_in_order():
    assert mapped(NoteShared(with_whom=("ann", "bob"))) == [
        ("notes", NoteOffered(recipient="ann")),
        ("notes", NoteOffered(recipient="bob")),
    ]
    assert mapped(NoteShared(with_whom=())) == []


def test_each_message_is_given_the_time_at_which_its_event_happened():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    events = [NoteShared(with_whom=("ann", "bob"), occurred_at=at), NoteWritten(text="a")]
    assert [one.occurred_at for one in mapping.map(events, Note("n1"))] == [at, at, None, None]


def test_a_mapper_may_return_none_for_nothing_this_time():
    silent = EventMapping({NoteWritten: to("notes", lambda event, note: None)})
    assert silent.map([NoteWritten(text="a")], Note("n1")) == []


def test_an_internal_event_stays_inside():
    assert mapped(NoteRead()) == []


def test_an_event_that_nobody_mapped_is_an_error_that_says_what_to_do():
    with pytest.raises(UnmappedEvent, match=r"NoteForgotten.*messaging\.py.*INTERNAL"):
        mapped(NoteForgotten())


def test_a_mapper_is_given_the_aggregate_as_it_is_after_the_command():
    seen = []
    asking = EventMapping({NoteWritten: to("notes", lambda event, note: seen.append(note.text))})
    note = Note("n1")
    note.write("as it was")
    asking.map(note.collect_events(), note)
    assert seen == ["as it was"]


@pytest.mark.parametrize("topic", ["", "Orders", "1st", "a.b", "a$b", "a b", "é", "a\n"])
def test_a_topic_that_no_broker_and_no_document_could_hold_is_refused(topic):
    with pytest.raises(MessagingError, match="can't be a topic"):
        to(topic, lambda event, note: None)
