"""The admin's pages of dead letters, and what people do about them, on the real server."""

import json
import re

import pytest
from django.db import connection as sql
from django.test.utils import CaptureQueriesContext

from outbox import clock, dead_letter_actions, dead_letters, deferred, delivery, discovery
from outbox.admin import filters
from outbox.context import new_id
from tests.integration.outbox import admin_pages
from tests.integration.outbox.admin_pages import (
    DISPATCHED,
    LETTERS,
    VIEW,
    ask,
    confirm,
    logged,
    page_of,
    person,
    row_of,
    text_of,
    told,
)
from tests.integration.outbox.consuming import projection
from tests.integration.outbox.test_admin import explained, reads, stages

pytestmark = pytest.mark.django_db

repositories, write, relay = admin_pages.repositories, admin_pages.write, admin_pages.relay


@pytest.fixture(autouse=True)
def _declared(repositories):
    discovery.messaging().subscribes["titles"] = projection()


@pytest.fixture
def somebody(client):
    client.force_login(person("ann", *VIEW, "replay_deadletter", "discard_deadletter"))
    return client


def failure(text="no such title", kind=ValueError):
    try:
        raise kind(text)
    except kind as error:
        return error


def letter(number=1, *, subscriber="titles", error=None, event_id=None, aggregate="n1", attempts=5):
    """Have an event become a dead letter; its key."""
    event_id = event_id or new_id()
    text = json.dumps(
        {
            "eventType": "NoteTitled",
            "eventId": event_id,
            "timestamp": "2026-01-02T03:04:05Z",
            "version": "1.0",
            "aggregateId": aggregate,
            "sequenceNumber": number,
            "payload": {"title": "<b>A title</b>"},
            "metadata": {"correlationId": "talk-1", "causationId": "command-1"},
        }
    )
    event = delivery.read(text, "notes")
    dead_letters.store(subscriber, "notes", event, error or failure(), attempts=attempts)
    return f"{subscriber}:{event_id}"


def states(mongo):
    return {one["_id"]: one["state"] for one in mongo[dead_letters.COLLECTION].find()}


def listed(client, **parameters):
    return [one.pk for one in client.get(LETTERS, parameters).context["cl"].result_list]


# -- What is there to see --


def test_dead_letters_are_listed_with_their_errors_the_newest_first(somebody):
    first, second = letter(1), letter(2, error=failure("what?", KeyError))
    assert listed(somebody) == [second, first]
    text = text_of(somebody.get(LETTERS))
    assert "NoteTitled titles ValueError no such title n1 number 1 in notes 2" in text
    assert "NoteTitled titles KeyError 'what?' n1 number 2 in notes 2" in text


def test_an_empty_list_says_what_that_means(somebody):
    assert "There are no dead letters: no subscriber has given up" in text_of(somebody.get(LETTERS))


def test_a_dead_letter_has_a_page_that_tells_all_of_it(somebody):
    key = letter()
    response = somebody.get(page_of(LETTERS, key))
    text, page = text_of(response), response.content.decode()
    assert f"<h2>NoteTitled for titles …{key[-12:]}</h2>" in page
    assert "State: dead after 5 failed attempts Error: ValueError: no such title" in text
    assert 'Payload: { "title": "<b>A title</b>" }' in text
    assert "<b>A title" not in page
    assert "First failure: 2" in text
    assert "command or call command-1 NoteTitled, this one" in text
    assert re.search(r"<details[^>]*><summary>traceback</summary><pre[^>]*>Traceback", page)
    event_id = key.partition(":")[2]
    for term in ("n1", event_id, "talk-1"):
        assert f'href="{DISPATCHED}?q={term}"' in page
        assert f'href="{LETTERS}?q={term}"' in page


def test_what_could_not_be_read_has_a_page_too(somebody):
    dead_letters.store_unreadable(
        "titles", "notes", "notes", "17-0", "{<script>", failure("It isn't JSON.")
    )
    assert "unreadable titles ValueError It isn't JSON." in text_of(somebody.get(LETTERS))
    response = somebody.get(page_of(LETTERS, "titles:notes:17-0"))
    assert "<h2>unreadable for titles notes:17-0</h2>" in response.content.decode()
    assert "Payload: {<script>" in text_of(response)
    assert "{<script>" not in response.content.decode()


def test_an_event_says_which_subscribers_have_given_up_on_it(somebody, write, relay):
    write("note-1")
    relay()
    event_id = row_of(somebody, DISPATCHED, topic="notes").pk
    assert "None: no subscriber has given up on it." in text_of(
        somebody.get(page_of(DISPATCHED, event_id))
    )
    letter(event_id=event_id)
    gone = letter(event_id=event_id, subscriber="other")
    dead_letter_actions.discard([gone], reason="no use", by="somebody")
    response = somebody.get(page_of(DISPATCHED, event_id))
    assert "Dead letters: other discarded titles dead" in text_of(response)
    assert page_of(LETTERS, gone) in response.content.decode()


def test_search_finds_by_aggregate_event_correlation_id_and_type(somebody):
    one, two = letter(1), letter(2, aggregate="n2")
    assert listed(somebody, q="n2") == [two]
    assert listed(somebody, q=one.partition(":")[2]) == [one]
    assert listed(somebody, q="talk-1") == listed(somebody, q="NoteTitled") == [two, one]
    assert listed(somebody, q="n") == listed(somebody, q='{"$gt": ""}') == []


def test_filters_narrow_the_list(somebody, mongo):
    one, two = letter(1), letter(2, subscriber="other", error=failure("x", KeyError))
    gone = letter(3)
    dead_letter_actions.discard([gone], reason="no use", by="somebody")
    filters.forget()
    assert listed(somebody, subscriber="other") == listed(somebody, error_type="KeyError") == [two]
    assert listed(somebody, type="NoteTitled", topic="notes") == [two, one]
    assert listed(somebody, state="discarded") == [gone]
    assert listed(somebody, state="dead") == listed(somebody) == [two, one]
    assert listed(somebody, state="replaying") == listed(somebody, state="alive") == []
    assert listed(somebody, age="under-hour") == [two, one]
    mongo[dead_letters.COLLECTION].update_one(
        {"_id": one}, {"$set": {"failed_at": clock.after(mongo, -7200)}}
    )
    assert listed(somebody, age="over-hour") == [one]
    specs = somebody.get(LETTERS).context["cl"].filter_specs
    offered = {spec.parameter_name: [value for value, _ in spec.lookup_choices] for spec in specs}
    assert offered["subscriber"] == ["titles"]
    assert offered["error_type"] == ["KeyError", "ValueError"]
    assert offered["state"] == ["dead", "replaying", "replayed", "discarded"]


@pytest.mark.parametrize(
    "query",
    [
        *("state=", "state[$ne]=x", "subscriber=%00", "error_type={}", "age=x", "age=", "p=9999"),
        *("q=%00", "q=" + "x" * 5000, "failed_at__gt=0", "o=1", "e=1", "subscriber=" + "x" * 5000),
    ],
)
def test_malformed_parameters_get_a_sensible_page(somebody, query):
    letter()
    response = somebody.get(f"{LETTERS}?{query}")
    assert response.status_code == 200
    assert re.search("NoteTitled|No dead letter matches|nothing on page", text_of(response))


# -- What people do --


def test_a_dead_letter_is_replayed_from_its_page(somebody, mongo):
    key = letter()
    asked = ask(somebody, LETTERS, "replay", [key], from_page="1")
    assert states(mongo) == {key: "dead"}
    done = confirm(somebody, asked, "the title is there now")
    assert done.redirect_chain == [(page_of(LETTERS, key), 302)]
    assert told(done)[0].startswith("1 dead letter is being replayed: see")
    assert states(mongo) == {key: "replaying"}
    assert mongo[deferred.COLLECTION].count_documents({}) == 1
    assert logged() == [("ann", key, "Replay: the title is there now")]
    assert "What was done By: ann At: not yet handled" in text_of(done)
    assert "State: being replayed after 5 failed attempts" in text_of(done)
    name = f"NoteTitled for titles …{key[-12:]}"
    assert f">{name}</a>" in somebody.get(LETTERS + "log/").content.decode()
    assert name in text_of(somebody.get("/admin/"))
    history = somebody.get(page_of(LETTERS, key).replace("/change/", "/history/"))
    assert f"Change history: {name}" in text_of(history)


def test_what_is_chosen_is_told_with_its_subscriber_and_when_it_failed(somebody):
    key = letter()
    dead_letters.store_unreadable("titles", "notes", "notes", "17-0", "{", failure())
    text = text_of(ask(somebody, LETTERS, "discard", [key, "titles:notes:17-0", "titles:gone"]))
    when = r"failed [-\d]+ [:\d]+ UTC \d+ s ago"
    event_id = key.partition(":")[2]
    assert re.search(rf"NoteTitled for titles, number 1 of n1 in notes, {when} {event_id}", text)
    assert re.search(rf"unreadable for titles, in notes, {when} notes:17-0", text)
    assert key not in text
    assert "titles:gone, which isn't there any more" in text


def test_all_that_match_are_discarded_with_a_reason(somebody, mongo):
    keys = [letter(number) for number in (1, 2)]
    other = letter(3, subscriber="other")
    asked = ask(somebody, LETTERS + "?subscriber=titles", "discard", keys[:1], across=True)
    assert "Discard: 2 dead letters" in text_of(asked)
    assert "Give a reason" in text_of(confirm(somebody, asked))
    done = confirm(somebody, asked, "see ticket 7")
    assert told(done) == ["2 dead letters were discarded."]
    assert states(mongo) == {keys[0]: "discarded", keys[1]: "discarded", other: "dead"}
    assert logged() == [("ann", None, "Discard: state dead, subscriber titles: 2. see ticket 7")]
    text = text_of(somebody.get(page_of(LETTERS, keys[0])))
    assert "What was done By: ann At: 2" in text
    assert "Reason: see ticket 7" in text


def test_all_of_the_list_are_the_dead_ones_and_numbers_are_as_elsewhere(somebody, mongo):
    fill(mongo, 1233)
    key = letter(5000)
    dead_letter_actions.discard([key], reason="no use", by="somebody")
    text = text_of(ask(somebody, LETTERS, "replay", ["x"], across=True))
    assert "Replay: 1,234 dead letters" in text
    assert "What matches at the moment when you say yes: all that are dead." in text


def test_what_can_not_be_replayed_is_said_with_why(somebody, mongo):
    good = letter()
    dead_letters.store_unreadable("titles", "notes", "notes", "17-0", "{", failure())
    asked = ask(somebody, LETTERS, "replay", [good, "titles:notes:17-0", "titles:gone"])
    [message] = told(confirm(somebody, asked))
    assert message.startswith("1 dead letter is being replayed: see")
    assert "2 couldn't be replayed" in message
    assert "titles:notes:17-0: " in message
    assert [key for _, key, _ in logged()] == [good]


def test_a_dead_letter_that_was_dealt_with_offers_nothing(somebody):
    key = letter()
    dead_letter_actions.discard([key], reason="no use", by="somebody")
    page = somebody.get(page_of(LETTERS, key)).content.decode()
    assert 'name="action"' not in page
    [message] = told(confirm(somebody, ask(somebody, LETTERS, "discard", [key]), "again"))
    assert "1 had been dealt with meanwhile" in message
    assert logged() == []


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_each_action_has_its_own_permission(client, action, mongo):
    key = letter()
    (other,) = {"replay", "discard"} - {action}
    client.force_login(person("bob", *VIEW, f"{other}_deadletter"))
    for page in (client.get(LETTERS), client.get(page_of(LETTERS, key))):
        assert f'value="{action}"' not in page.content.decode()
        assert f'value="{other}"' in page.content.decode()
    assert ask(client, LETTERS, action, [key]).status_code == 403
    posted = {"once": "0b8f4ff5-7b1c-4d6c-9d6a-111111111111", "reason": "because"}
    assert ask(client, LETTERS, action, [key], across=True, **posted).status_code == 403
    assert states(mongo) == {key: "dead"}


def test_clicking_twice_has_one_effect(somebody, mongo):
    key = letter()
    asked = ask(somebody, LETTERS, "replay", [key])
    confirm(somebody, asked)
    mongo[dead_letters.COLLECTION].update_one({"_id": key}, {"$set": {"state": "dead"}})
    assert "This has been done already, by ann" in told(confirm(somebody, asked))[0]
    assert states(mongo) == {key: "dead"}
    assert len(logged()) == 1


# -- What it costs --

QUERIES = ["", "p=2", "state=replayed", "subscriber=titles", "error_type=ValueError", "topic=notes"]
QUERIES += ["q=n7", "q=NoteTitled", "q=nobody", "age=over-hour", "type=NoteTitled&subscriber=other"]


def fill(mongo, number):
    key = letter()
    [pattern] = mongo[dead_letters.COLLECTION].find({"_id": key})
    mongo[dead_letters.COLLECTION].insert_many(
        {
            **pattern,
            "_id": f"titles:{one}",
            "event_id": str(one),
            "aggregate_id": f"n{one}",
            "failed_at": clock.after(mongo, -one),
        }
        for one in range(number)
    )


def test_the_list_costs_six_database_calls_at_most_and_reads_by_index(
    admin_client, mongo, commands
):
    fill(mongo, 1000)
    for query in QUERIES:
        clock.now(mongo)
        filters.forget()
        commands.clear()
        with CaptureQueriesContext(sql) as queries:
            admin_client.get(f"{LETTERS}?{query}")
        assert len(queries) + len(commands.events) <= 6, query
        for command in reads(commands, mongo):
            names = stages(explained(mongo, command)["queryPlanner"]["winningPlan"])
            assert not {"COLLSCAN", "SORT"} & set(names), query


def test_the_list_leaves_envelopes_and_tracebacks_with_the_server(somebody):
    letter()
    row = row_of(somebody, LETTERS)
    assert row.text == row.traceback == ""


@pytest.mark.parametrize("path", ["", "x/change/", "x/history/"])
def test_the_page_says_so_when_mongodb_is_away(path, somebody, settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://secret-host.invalid:1"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    response = somebody.get(LETTERS + path)
    assert response.status_code == 503
    assert "secret-host" not in response.content.decode()
