"""Selections of the message store: what they find, in which order, and what that costs."""

from datetime import datetime, timedelta

import pytest

from outbox import (
    clock,
    connections,
    conversations,
    dead_letters,
    discovery,
    dispatched,
    message_store,
    operations,
    pending,
    waiting,
)
from outbox.context import MessageContext, new_id
from outbox.discovery import Messaging
from outbox.document import relaying, saving
from outbox.errors import InvalidCursor, MissingIndex
from outbox.indexes import ensure_indexes
from outbox.mapping import Outgoing
from outbox.message_store import Selection
from tests import notes


class LetterRepository(notes.NoteRepository):
    collection = "letters"


@pytest.fixture(autouse=True)
def _declared(monkeypatch, settings):
    """The notes' application in place of the project's, with two collections."""
    repositories = [notes.repository(), LetterRepository(notes.mapping)]
    table = Messaging(publishes=notes.mapping.routes, repositories=repositories)
    monkeypatch.setattr(discovery, "messaging", lambda: table)
    settings.OUTBOX_STUCK_AFTER = 3


@pytest.fixture
def store(database):
    """Of each kind, with the indexes."""
    ensure_indexes(["notes", "letters"])
    return database


def fill(store, number, collection="notes", start=0, context=None, idle=0):
    """Notes with two pending messages each, one second apart; quicker than by writing each."""
    began, documents = clock.now(store) - timedelta(hours=1), []
    for one in range(start, start + number):
        messages = [
            Outgoing(topic, notes.NotePublished(note_text="hello"))
            for topic in ("notes", "notes-internal")
        ]
        due = began + timedelta(seconds=one)
        fields = {"text": "hello"}
        context_of_it = context or MessageContext()
        documents.append(saving.insert(f"n{one}", fields, messages, due, context_of_it)[0])
    for one in range(idle):
        documents.append(saving.insert(f"idle{one}", {"text": "x"}, [], began, MessageContext())[0])
    store[collection].insert_many(documents)
    return documents


def fail(store, id, attempts, collection="notes"):
    changes = {"outbox.pending.0.attempts": attempts, "outbox.pending.0.last_error": "refused"}
    store[collection].update_one({"_id": id}, {"$set": changes})


def archive(store, documents, collection="notes"):
    later = clock.now(store) + timedelta(days=100)
    found = [e for one in documents for e in relaying.due_envelopes(one, later)[0]]
    dispatched.archive(store, collection, found, clock.now(store))
    return found


def dead(store, number, **fields):
    at = clock.now(store)
    letters = [
        {
            "_id": f"titles:e{one}",
            "subscriber": "titles",
            "stream": "notes",
            "topic": "notes",
            "event_id": f"e{one}",
            "type": "NotePublished",
            "aggregate_id": f"n{one}",
            "sequence": 1,
            "correlation_id": f"c{one}",
            "text": '{"payload": {"noteText": "é"}, "metadata": {"a": 1}}',
            "traceback": "Traceback",
            "state": "dead",
            "attempts": 1,
            "error": "ValueError: poison",
            "error_type": "ValueError",
            "first_failed_at": at,
            "failed_at": at + timedelta(seconds=one),
            **{k: v(one) if callable(v) else v for k, v in fields.items()},
        }
        for one in range(number)
    ]
    store[dead_letters.COLLECTION].insert_many(letters)
    return letters


def found(page):
    return [(one.aggregate_id, one.topic) for one in page.messages]


# -- What is found --


def test_pending_messages_are_selected_by_everything_that_a_list_filters_by(store):
    documents = fill(store, 4)
    event_id = documents[1]["outbox"]["pending"][1]["event_id"]
    correlation_id = documents[2]["outbox"]["pending"][0]["metadata"]["correlationId"]
    both = ["notes", "notes-internal"]

    def select(**fields):
        return found(pending.messages(Selection(**fields)))

    assert select() == [(f"n{one}", topic) for one in range(4) for topic in both]
    assert select(term="n1") == select(aggregate_id="n1") == [("n1", topic) for topic in both]
    assert select(term=event_id) == [("n1", "notes-internal")]
    assert select(term=correlation_id) == [("n2", topic) for topic in both]
    assert len(select(term="NotePublished")) == len(select(type="NotePublished")) == 8
    assert select(type="NoteOffered") == select(term="nobody") == select(aggregate_id="no") == []
    assert select(topic="notes", aggregate_id="n3") == [("n3", "notes")]
    assert select(aggregate_id="n1", term=event_id) == [("n1", "notes-internal")]
    assert select(aggregate_id="n2", term=event_id) == []
    at = [one["outbox"]["pending"][0]["occurred_at"] for one in documents]
    assert select(since=at[2], topic="notes") == [("n2", "notes"), ("n3", "notes")]
    assert select(until=at[2], topic="notes") == [("n0", "notes"), ("n1", "notes")]
    assert select(since=at[1], until=at[2], topic="notes") == [("n1", "notes")]


def test_pending_messages_are_selected_by_how_they_have_fared(store):
    fill(store, 4)
    fail(store, "n1", 3)
    fail(store, "n2", 1)

    def select(**fields):
        return found(pending.messages(Selection(**fields)))

    assert select(state="stuck") == [("n1", "notes")]
    assert select(state="failed") == [("n1", "notes"), ("n2", "notes")]
    assert len(select(state="untried")) == 6
    assert ("n1", "notes-internal") in select(state="untried")
    assert select(state="stuck", term="n1") == [("n1", "notes")]
    assert select(state="stuck", term="NotePublished") == [("n1", "notes")]
    assert select(state="stuck", term="n2") == select(state="stuck", topic="others") == []


def test_dispatched_messages_are_selected_by_everything_that_a_list_filters_by(store):
    documents = fill(store, 4)
    envelopes = archive(store, documents)
    both = ["notes-internal", "notes"]

    def select(**fields):
        return found(dispatched.messages(Selection(**fields)))

    assert select() == [(f"n{one}", topic) for one in (3, 2, 1, 0) for topic in both]
    assert select(term="n1") == select(aggregate_id="n1") == [("n1", topic) for topic in both]
    assert select(term=envelopes[3].event_id) == [("n1", "notes-internal")]
    assert select(term=envelopes[2].metadata["correlationId"]) == [("n1", one) for one in both]
    assert len(select(term="NotePublished")) == len(select(type="NotePublished")) == 8
    assert select(topic="notes", aggregate_id="n3") == [("n3", "notes")]
    assert select(type="NoteOffered") == select(term="nobody") == select(term="notes") == []
    at = envelopes[4].occurred_at
    assert select(since=at, topic="notes") == [("n3", "notes"), ("n2", "notes")]
    assert select(until=at, topic="notes") == [("n1", "notes"), ("n0", "notes")]


def test_dead_letters_are_selected_by_everything_that_a_list_filters_by(store):
    letters = dead(
        store,
        6,
        state=lambda one: ("dead", "replaying", "replayed", "discarded", "dead", "dead")[one],
        subscriber=lambda one: "mailer" if one == 5 else "titles",
        error_type=lambda one: "KeyError" if one == 4 else "ValueError",
    )

    def select(**fields):
        return [one.event_id for one in dead_letters.messages(Selection(**fields)).messages]

    assert select() == ["e5", "e4", "e0"]
    assert [select(state=one) for one in ("replaying", "replayed", "discarded")] == [
        ["e1"],
        ["e2"],
        ["e3"],
    ]
    assert select(subscriber="titles") == ["e4", "e0"]
    assert select(subscriber="titles", error_type="KeyError") == select(term="n4") == ["e4"]
    assert select(term="e4") == select(term="c4") == select(aggregate_id="n4") == ["e4"]
    assert select(term="e4", subscriber="mailer") == select(term="e1") == []
    assert select(term="e1", state="replaying") == ["e1"]
    assert select(type="NotePublished", topic="notes") == ["e5", "e4", "e0"]
    assert select(since=letters[4]["failed_at"]) == ["e5", "e4"]
    assert select(until=letters[4]["failed_at"]) == ["e0"]
    assert select(term="NotePublished", until=letters[4]["failed_at"]) == ["e0"]


def test_nothing_in_what_is_searched_for_is_an_operator(store):
    archive(store, fill(store, 1))
    dead(store, 1)
    for term in ("$where", ".*", "n", "N0", '{"$gt": ""}', "n0/"):
        for read in (pending.messages, dispatched.messages, dead_letters.messages):
            assert read(Selection(term=term)).messages == []
            assert read(Selection(type=term)).messages == []


def test_a_dead_letter_is_read_in_full_and_listed_without_what_is_long(store):
    dead(store, 1)
    [listed] = dead_letters.messages(Selection()).messages
    assert (listed.text, listed.traceback) == ("", "")
    letter = dead_letters.message("titles:e0")
    assert letter.payload == '{"noteText": "é"}'
    assert letter.metadata == {"a": 1}
    assert letter.traceback == "Traceback"
    assert (letter.key, letter.correlation_id, letter.closed_at) == ("titles:e0", "c0", None)
    assert dead_letters.message("nobody") is None


@pytest.mark.parametrize("text", ["poison", "[1]", "[" * 100_000, '{"other": 1}', ""])
def test_what_was_never_an_event_has_its_text_for_a_payload(store, text):
    dead(store, 1, text=text)
    letter = dead_letters.message("titles:e0")
    assert (letter.payload, letter.metadata) == (text, {})


def test_the_dead_letters_of_an_event_are_those_of_all_subscribers_in_any_state(store):
    dead(store, 2, event_id="e", state=lambda one: ("dead", "replayed")[one])
    assert [one.state for one in dead_letters.of_event("e")] == ["replayed", "dead"]
    assert dead_letters.of_event("other") == []


def test_types_and_errors_are_there_to_choose_from(store):
    assert message_store.types() == dead_letters.error_types() == []
    archive(store, fill(store, 2))
    dead(store, 2, error_type=lambda one: ("ValueError", "KeyError")[one])
    assert message_store.types() == ["NotePublished"]
    assert dead_letters.error_types() == ["KeyError", "ValueError"]


# -- Page by page --


def read_on(read, selection, limit):
    """All pages, by their cursors."""
    cursor, rows, pages = None, [], 0
    while True:
        page = read(selection, limit=limit, cursor=cursor)
        assert len(page.messages) == limit or page.next is None
        rows += page.messages
        pages += 1
        if (cursor := page.next) is None:
            return rows, pages


@pytest.mark.parametrize("fields", [{}, {"term": "NotePublished"}, {"topic": "notes"}])
@pytest.mark.parametrize("spread", [0, 1])
def test_pages_follow_one_another_by_their_cursors(store, fields, spread, monkeypatch):
    """Even if all was due, or failed, at the same time."""
    documents = fill(store, 10) + fill(store, 10, "letters", start=10)
    if not spread:
        at = clock.now(store)
        for name in ("notes", "letters"):
            for stored in store[name].find():
                due = {f"outbox.pending.{i}.due_at": at for i in range(2)}
                store[name].update_one({"_id": stored["_id"]}, {"$set": due})
    archive(store, documents)
    at = clock.now(store)
    dead(store, 20, failed_at=lambda one: at + timedelta(seconds=one * spread))
    selection = Selection(**fields)
    number = 20 if "topic" in fields else 40
    for read, least in ((pending.messages, number), (dispatched.messages, number)):
        for limit in (7, 20, number):
            rows, pages = read_on(read, selection, limit)
            assert len({one.event_id for one in rows}) == len(rows) == least
            assert pages == -(-least // limit)
    rows, _ = read_on(dead_letters.messages, selection, 7)
    assert len({one.key for one in rows}) == len(rows) == 20


def test_a_page_goes_on_behind_the_one_before_whatever_has_been_published_meanwhile(store):
    fill(store, 10)
    first = pending.messages(limit=6)
    store.notes.delete_many({"_id": {"$in": ["n0", "n1", "n2"]}})
    second = pending.messages(limit=6, cursor=first.next)
    assert [one.aggregate_id for one in second.messages] == ["n3", "n3", "n4", "n4", "n5", "n5"]
    dead(store, 10)
    letters = dead_letters.messages(limit=4)
    keys = {"_id": {"$in": [one.key for one in letters.messages]}}
    store[dead_letters.COLLECTION].update_many(keys, {"$set": {"state": "discarded"}})
    letters = dead_letters.messages(limit=4, cursor=letters.next)
    assert [one.event_id for one in letters.messages] == ["e5", "e4", "e3", "e2"]


def test_a_page_that_ended_within_an_aggregate_goes_on_there(store):
    fill(store, 3)
    first = pending.messages(limit=3)
    store.notes.update_one({"_id": "n1"}, {"$pop": {"outbox.pending": -1}})
    second = pending.messages(limit=3, cursor=first.next)
    places = [(one.aggregate_id, one.topic) for one in second.messages]
    assert places == [("n1", "notes-internal"), ("n2", "notes"), ("n2", "notes-internal")]


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "W10", "é", "W1tdXQ", "WzEsMl0", "bnVsbA", "WyJcdWQ4MDAiXQ", "W3RydWUsMSwieCJd"),
        *("W" * 5000, message_store.encode_cursor("\ud800")),
        *(message_store.encode_cursor(one, 1, "x") for one in (10**18, -1, 2**52, "x")),
        message_store.encode_cursor(1, -1, "x"),
    ],
)
def test_a_cursor_that_no_listing_gave_is_refused(store, cursor):
    fill(store, 1)
    for read in (pending.messages, dispatched.messages, waiting.messages, dead_letters.messages):
        with pytest.raises(InvalidCursor):
            read(Selection(), cursor=cursor)


@pytest.mark.parametrize("fields", [{}, {"term": "NotePublished"}, {"state": "failed"}])
def test_a_listing_ends_at_its_reach_and_says_so(store, fields, monkeypatch):
    monkeypatch.setattr(message_store, "REACH", 10)
    documents = fill(store, 15)
    for one in range(15):
        fail(store, f"n{one}", 1)
    archive(store, documents)
    if "state" in fields:
        dead(store, 15, state="replayed")
        letters = Selection(state="replayed", topic="others")
    else:
        dead(store, 15)
        letters = Selection(topic="others", **fields)
    assert pending.messages(Selection(topic="others", **fields)).partial
    assert dead_letters.messages(letters).partial
    last = pending.messages(Selection(**fields), skip=5, limit=5)
    assert last.partial or last.has_more
    if "state" not in fields:
        never = documents[0]["outbox"]["pending"][0]["occurred_at"] - timedelta(days=1)
        assert dispatched.messages(Selection(until=never, **fields)).partial
    # What an index finds is found wherever it is.
    assert len(pending.messages(Selection(term="n14")).messages) == 2
    assert len(dispatched.messages(Selection(term="n0")).messages) == 2
    assert not dead_letters.messages(Selection(term="n0")).partial


def test_what_lies_in_partitions_of_an_earlier_setting_is_found_too(store, settings):
    settings.OUTBOX_PARTITIONS = 64
    fill(store, 30)
    settings.OUTBOX_PARTITIONS = 2
    assert len(pending.messages(limit=100).messages) == 60
    assert len(pending.keys(Selection(topic="notes"))) == 30
    assert operations.count("pending", Selection(term="NotePublished")) == (60, True)


# -- What it costs --

CONVERSATION = MessageContext(correlation_id=new_id())

SELECTIONS = [
    *({}, {"topic": "notes"}, {"type": "NotePublished"}, {"aggregate_id": "n7"}, {"term": "n7"}),
    *({"term": "NotePublished"}, {"term": "nobody"}, {"term": CONVERSATION.correlation_id}),
    *({"since": datetime.fromisoformat("2020-01-01T00:00Z"), "topic": "notes"},),
    *({"until": datetime.fromisoformat("2020-01-01T00:00Z")},),
]
READS = [
    *((pending.messages, one) for one in SELECTIONS),
    *((pending.messages, {"state": one}) for one in ("stuck", "failed", "untried")),
    *((pending.messages, {"state": "stuck", "term": one}) for one in ("n7", "NotePublished")),
    *((dispatched.messages, one) for one in SELECTIONS),
    *((dead_letters.messages, one) for one in SELECTIONS),
    *((dead_letters.messages, {"state": one}) for one in ("replayed", "discarded")),
    (dead_letters.messages, {"subscriber": "titles", "error_type": "ValueError"}),
    (dead_letters.messages, {"subscriber": "nobody"}),
]

COLLECTIONS = ("notes", "letters", dispatched.COLLECTION, dead_letters.COLLECTION)


@pytest.fixture
def filled(mongo):
    ensure_indexes(["notes", "letters"])

    def filled(number, start=0):
        documents = fill(mongo, number, start=start, idle=number)
        fill(mongo, 5, "letters", start=start + number)
        for one in range(start, start + number, 3):
            fail(mongo, f"n{one}", 5)
        archive(mongo, documents)
        dead(mongo, number)
        archive(mongo, fill(mongo, 3, "letters", 10**6, CONVERSATION), "letters")
        return mongo

    return filled


def asked(commands):
    return [
        event.command
        for event in commands.events
        if event.command.get(event.command_name) in COLLECTIONS
    ]


def examined(mongo, command):
    """The stages of a command's plans, those in unions included, and the documents looked at."""
    kept = ("aggregate", "find", "distinct", "pipeline", "filter", "hint", "cursor", "sort")
    kept += ("limit", "skip", "key", "query", "projection")
    query = {name: command[name] for name in (command.keys() & set(kept))}
    # The name of the command comes first.
    query = {k: query[k] for k in sorted(query, key=lambda k: k != next(iter(command)))}
    plan = mongo.command("explain", query, verbosity="executionStats")
    names, documents, sorts = [], 0, 0

    def walk(one):
        nonlocal documents, sorts
        if isinstance(one, list):
            for each in one:
                walk(each)
        elif isinstance(one, dict):
            names.extend([one["stage"]] if "stage" in one else [])
            sorts += "$sort" in one
            documents += one.get("executionStats", {}).get("totalDocsExamined", 0)
            for name, value in one.items():
                if name not in ("rejectedPlans", "allPlansExecution", "command"):
                    walk(value)

    walk(plan)
    return names, documents, sorts


@pytest.mark.parametrize(("read", "fields"), READS)
def test_a_listing_follows_indexes_in_three_requests_at_most(read, fields, filled, commands):
    mongo = filled(300)
    clock.now(mongo)
    commands.clear()
    read(Selection(**fields))
    made = asked(commands)
    assert 1 <= len(made) <= 3
    for command in made:
        names, documents, sorts = examined(mongo, command)
        assert {"IXSCAN", "IDHACK", "EOF"} & set(names)
        assert "COLLSCAN" not in names
        # Of what has failed, which its index doesn't have in order: no more than `REACH`.
        assert (not sorts and "SORT" not in names) or fields.get("state") in ("stuck", "failed")
        assert documents <= 700, (command, documents)


def test_a_page_of_what_is_longest_due_looks_at_no_more_than_it_shows(filled, commands):
    mongo = filled(300)
    commands.clear()
    pending.messages(limit=20)
    dispatched.messages(limit=20)
    dead_letters.messages(limit=20)
    # Of the second collection, five documents.
    looked = [examined(mongo, command)[1] for command in asked(commands)]
    assert sum(looked) <= 21 + 8 + 2 * 21 + 10, looked


@pytest.mark.parametrize("read", [pending.messages, dispatched.messages, dead_letters.messages])
def test_it_costs_the_same_at_any_size(read, filled, commands):
    costs = []
    for number, start in ((100, 0), (900, 100)):
        connections.database()[dead_letters.COLLECTION].delete_many({})
        connections.database().letters.delete_many({})
        connections.database()[dispatched.COLLECTION].delete_many({})
        connections.database().notes.delete_many({"_id": {"$regex": "^idle"}})
        mongo = filled(number, start)
        clock.now(mongo)
        commands.clear()
        read(Selection(topic="notes"), limit=20)
        costs.append(len(asked(commands)))
    assert costs[0] == costs[1]


def test_choices_are_one_seek_each(filled, commands):
    mongo = filled(300)
    commands.clear()
    message_store.types()
    dead_letters.error_types()
    dead_letters.of_event("e1")
    conversations.messages(CONVERSATION.correlation_id)
    first, second, of_event, *rest = asked(commands)
    for command in (first, second):
        names, documents, _ = examined(mongo, command)
        assert "DISTINCT_SCAN" in names
        assert documents == 0
    assert examined(mongo, of_event)[1] == 1
    assert len(rest) == 3
    for command in rest:
        assert "COLLSCAN" not in examined(mongo, command)[0]


@pytest.mark.parametrize(
    ("collection", "index", "read"),
    [
        ("letters", "outbox_due", lambda: pending.messages()),
        ("notes", "outbox_failed", lambda: pending.messages(Selection(state="stuck"))),
        ("outbox_dispatched", "outbox_type", lambda: dispatched.messages(Selection(type="x"))),
        (
            "outbox_dead_letters",
            "outbox_dead_letter_state",
            lambda: dead_letters.messages(Selection()),
        ),
    ],
)
def test_without_its_index_a_listing_says_so(filled, collection, index, read):
    mongo = filled(10)
    mongo[collection].drop_index(index)
    with pytest.raises(MissingIndex):
        read()


def test_counting_what_no_index_serves_looks_at_no_more_than_can_be_waited_for(
    filled, commands, monkeypatch
):
    mongo = filled(100)
    monkeypatch.setattr(message_store, "LOOKED_AT", 30)
    newest = dispatched.messages(limit=1).messages[0].occurred_at
    recent = Selection(since=newest - timedelta(milliseconds=1), topic="notes")
    commands.clear()
    # Found at the end where they are; the others haven't been looked at.
    count, is_all = operations.count("dispatched", recent)
    assert (count >= 1, is_all) == (True, False)
    assert operations.count("dispatched", Selection(until=newest, topic="notes")) == (30, False)
    for command in asked(commands):
        names, documents, _ = examined(mongo, command)
        assert "IXSCAN" in names and "COLLSCAN" not in names
        assert documents <= 31
    assert operations.count("dispatched", Selection(topic="notes"), most=10) == (10, False)
    exact, is_all = operations.count("dispatched", Selection(until=newest), most=None)
    assert (exact >= 200, is_all) == (True, True)


def test_a_page_far_on_has_what_a_page_has(store, monkeypatch):
    fill(store, 120)
    fill(store, 5, "letters", start=120)
    near = pending.messages(limit=250).messages
    monkeypatch.setattr(pending, "FAR", 10)
    page = pending.messages(skip=pending.FAR, limit=250)
    assert page.messages == near[pending.FAR :]
    assert page.messages[0].last_error == "" and not page.has_more
    on = pending.messages(skip=pending.FAR, limit=10)
    assert on.messages == near[pending.FAR : pending.FAR + 10]
    assert pending.messages(limit=10, cursor=on.next).messages == near[pending.FAR + 10 :][:10]
