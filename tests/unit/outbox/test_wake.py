import threading

import pytest

from outbox import wake as announcement
from tests import notes
from tests.notes import Note

called = []


def record(collection, partition):
    called.append((collection, partition))


def refuse(collection, partition):
    called.append("refused")
    raise OSError("no broker")


@pytest.fixture(autouse=True)
def _fresh(settings, monkeypatch):
    called.clear()
    monkeypatch.setattr(announcement, "_paused_until", None)
    settings.OUTBOX_WAKE = f"{__name__}.record"


def test_a_commit_with_messages_wakes_the_relay_of_its_partition():
    note = Note("n1")
    note.write("hello")
    repository = notes.repository()
    try:
        repository.add(note)
        note.read()
        repository.save(note)
    finally:
        repository._documents.drop()
    assert called == [("notes", 4)]  # the second commit has nothing to publish


def test_a_wake_that_fails_never_fails_the_command_and_is_not_tried_again_for_a_while(
    settings, caplog
):
    settings.OUTBOX_WAKE = f"{__name__}.refuse"
    for _ in range(3):
        announcement.wake("notes", 1)
    assert called == ["refused"]
    assert "Wake failed" in caplog.text


def test_after_the_pause_one_finds_out_and_all_go_on(settings):
    settings.OUTBOX_WAKE, settings.OUTBOX_WAKE_PAUSE = f"{__name__}.refuse", 0
    announcement.wake("notes", 1)
    settings.OUTBOX_WAKE = f"{__name__}.record"
    announcement.wake("notes", 2)
    announcement.wake("notes", 3)
    assert called == ["refused", ("notes", 2), ("notes", 3)]


def test_while_one_finds_out_the_others_do_not_wait(settings, monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    def slow(collection, partition):
        called.append(partition)
        entered.set()
        leave.wait(5)

    monkeypatch.setattr(f"{__name__}.record", slow)
    monkeypatch.setattr(announcement, "_paused_until", 0.0)
    finder = threading.Thread(target=announcement.wake, args=("notes", 1))
    finder.start()
    entered.wait(5)
    announcement.wake("notes", 2)
    leave.set()
    finder.join()
    assert called == [1]


def test_no_wake_is_sent_where_none_is_wanted(settings):
    settings.OUTBOX_WAKE = None
    announcement.wake("notes", 1)
    assert called == []
