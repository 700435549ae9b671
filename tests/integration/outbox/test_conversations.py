"""Conversations: what led to a message, and what it has led to."""

import pytest

from outbox import clock, conversations, discovery, dispatched, pending
from outbox.context import MessageContext, new_id
from outbox.discovery import Messaging
from outbox.document import relaying, saving
from outbox.indexes import ensure_indexes
from outbox.mapping import Outgoing
from outbox.message_store import Selection
from tests import notes


class LetterRepository(notes.NoteRepository):
    collection = "letters"


@pytest.fixture(autouse=True)
def store(database, monkeypatch):
    """Of each kind, with the indexes, of an application with two collections."""
    repositories = [notes.repository(), LetterRepository(notes.mapping)]
    table = Messaging(publishes=notes.mapping.routes, repositories=repositories)
    monkeypatch.setattr(discovery, "messaging", lambda: table)
    ensure_indexes(["notes", "letters"])
    return database


@pytest.fixture
def say(store):
    """Store a message of a conversation, caused by a message or a command; its event id."""

    def say(id, correlation_id, cause=None, *, collection="notes", is_dispatched=False):
        context = MessageContext(correlation_id=correlation_id, message_id=cause)
        messages = [Outgoing("notes", notes.NotePublished(note_text="x"))]
        now = clock.now(store)
        new, _ = saving.insert(id, {"text": "x"}, messages, now, context)
        [envelope], _ = relaying.due_envelopes(new, now)
        if is_dispatched:
            dispatched.archive(store, collection, [envelope], now)
            new["outbox"]["pending"] = []
        store[collection].insert_one(new)
        return envelope.event_id

    return say


def names(messages):
    return [one.aggregate_id for one in messages]


def test_a_conversation_is_read_from_the_archive_and_from_what_waits(say):
    conversation, other = new_id(), new_id()
    first = say("a", conversation, "command", is_dispatched=True)
    say("b", conversation, first, collection="letters")
    say("c", conversation, first)
    say("x", other)
    say("y", other, is_dispatched=True)
    found = conversations.messages(conversation)
    assert names(found) == ["a", "b", "c"]
    assert [type(one).__name__ for one in found] == [
        "DispatchedMessage",
        "PendingMessage",
        "PendingMessage",
    ]
    assert [one.collection for one in found] == ["notes", "letters", "notes"]
    assert {one.metadata["correlationId"] for one in found} == {conversation}
    assert {one.payload for one in found} == {""}
    assert conversations.messages("nobody's") == conversations.messages("") == []


def test_a_chain_goes_up_to_the_first_cause_and_down_to_the_effects(say):
    conversation = new_id()
    ids = {"a": say("a", conversation, "command", is_dispatched=True)}
    ids["b"] = say("b", conversation, ids["a"], is_dispatched=True)
    ids["c"] = say("c", conversation, ids["b"], is_dispatched=True)
    say("d", conversation, ids["c"])
    say("e", conversation, ids["c"], collection="letters")
    say("f", conversation, ids["a"])

    def chain(message):
        found = conversations.chain(message)
        return names(found.causes), names(found.effects)

    assert chain(dispatched.message(ids["a"])) == ([], ["b", "f"])
    assert chain(dispatched.message(ids["c"])) == (["a", "b"], ["d", "e"])
    [last] = pending.messages(Selection(term="d")).messages
    assert chain(pending.message("notes", "d", last.event_id)) == (["a", "b", "c"], [])


def test_a_chain_is_found_among_messages_that_are_known_without_a_request(say, commands):
    conversation = new_id()
    first = say("a", conversation, is_dispatched=True)
    second = say("b", conversation, first, is_dispatched=True)
    known, message = conversations.messages(conversation), dispatched.message(second)
    commands.clear()
    assert names(conversations.chain(message, known).causes) == ["a"]
    assert commands.events == []


def test_causes_that_go_round_in_a_circle_come_to_an_end(say, store):
    conversation = new_id()
    first = say("a", conversation, is_dispatched=True)
    second = say("b", conversation, first, is_dispatched=True)
    for one, cause in ((first, second), (second, first)):
        store[dispatched.COLLECTION].update_one(
            {"_id": one}, {"$set": {"metadata.causationId": cause}}
        )
    found = conversations.chain(dispatched.message(second))
    assert (names(found.causes), names(found.effects)) == (["a"], ["a"])
    store[dispatched.COLLECTION].update_one(
        {"_id": first}, {"$set": {"metadata.causationId": first}}
    )
    assert conversations.chain(dispatched.message(first)).causes == []


def test_a_message_of_other_origin_belongs_to_no_conversation(say, store):
    first = say("a", new_id(), is_dispatched=True)
    for metadata in ({}, {"correlationId": None}, {"correlationId": 7}):
        store[dispatched.COLLECTION].update_one({"_id": first}, {"$set": {"metadata": metadata}})
        assert conversations.chain(dispatched.message(first)) == ([], [])


def test_what_is_being_relayed_is_there_once(say, store):
    conversation = new_id()
    first = say("a", conversation)
    [envelope], _ = relaying.due_envelopes(
        store["notes"].find_one({"_id": "a"}), clock.after(store, 60)
    )
    dispatched.archive(store, "notes", [envelope], clock.now(store))
    assert [one.event_id for one in conversations.messages(conversation)] == [first]


def test_a_long_conversation_is_read_to_its_bound_the_oldest_first(say, monkeypatch):
    monkeypatch.setattr(conversations, "MOST", 4)
    conversation = new_id()
    for number in range(3):
        say(f"d{number}", conversation, is_dispatched=True)
    for number in range(6):
        say(f"p{number}", conversation)
    assert names(conversations.messages(conversation)) == ["d0", "d1", "d2", "p0"]
