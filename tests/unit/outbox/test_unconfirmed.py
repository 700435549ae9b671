"""What is remembered of messages that were added and not confirmed."""

import pytest

from outbox.publishers import unconfirmed


class Client:
    """Stands for one of redis-py's."""


@pytest.fixture
def client():
    return Client()


def remember(client, *texts, history="h1", stream="orders"):
    unconfirmed.remember(client, history, [stream] * len(texts), texts)


def confirm(client, history="h1"):
    unconfirmed.confirm(client, unconfirmed.waiting(client), history)


def take(client, *texts, stream="orders"):
    return unconfirmed.take(client, [stream] * len(texts), texts)


def test_nothing_counts_before_it_is_confirmed(client):
    remember(client, "one")
    assert take(client, "one") == 0
    confirm(client)
    assert take(client, "one") == 1
    assert take(client, "one") == 0


@pytest.mark.parametrize("history", ["h2", None])
def test_what_was_added_to_another_history_is_forgotten(client, history):
    remember(client, "one")
    confirm(client, history)
    assert take(client, "one") == 0
    assert unconfirmed.waiting(client) == {}


def test_only_what_was_there_when_it_was_asked_for_is_confirmed(client):
    remember(client, "one")
    asked = unconfirmed.waiting(client)
    remember(client, "two")
    unconfirmed.confirm(client, asked, "h1")
    assert take(client, "one", "two") == 1
    assert len(unconfirmed.waiting(client)) == 1


def test_what_was_added_anew_meanwhile_is_not_confirmed_as_the_one_before(client):
    remember(client, "one")
    asked = unconfirmed.waiting(client)
    remember(client, "one", history="h2")
    unconfirmed.confirm(client, asked, "h1")
    assert take(client, "one") == 0


def test_only_the_beginning_of_a_group_counts(client):
    remember(client, "one", "three")
    confirm(client)
    assert take(client, "one", "two", "three") == 1
    assert take(client, "three") == 1


def test_another_stream_text_or_server_is_another_message(client):
    remember(client, "one")
    confirm(client)
    assert take(client, "one", stream="internal") == 0
    assert take(client, "one, replayed") == 0
    assert take(Client(), "one") == 0
    assert take(client, "one") == 1


def test_the_oldest_are_forgotten_when_there_are_too_many(client, monkeypatch):
    monkeypatch.setattr(unconfirmed, "MOST", 3)
    remember(client, "1", "2", "3")
    remember(client, "4", "5")
    confirm(client)
    assert [take(client, one) for one in "12345"] == [0, 0, 1, 1, 1]


def test_all_is_forgotten_of_a_server_that_may_be_another(client):
    remember(client, "one", "two")
    confirm(client)
    remember(client, "three")
    unconfirmed.forget(client)
    assert take(client, "one", "two", "three") == 0
    assert unconfirmed.waiting(client) == {}
