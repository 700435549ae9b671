from tests.notes import Note, NoteRead, NoteWritten


def test_collecting_hands_the_recorded_events_over_once_and_in_order():
    note = Note("n1")
    note.write("hello")
    note.read()
    assert note.collect_events() == [NoteWritten(text="hello"), NoteRead()]
    assert note.collect_events() == []


def test_an_aggregate_is_at_version_0_until_it_is_stored():
    assert Note("n1").version == 0
