"""The admin's pages of what waits for its subscribers, on the real server."""

import re

import pytest
from django.db import connection as sql
from django.test.utils import CaptureQueriesContext

from outbox import clock, deferred, discovery
from outbox.admin import filters
from tests.integration.outbox import admin_pages
from tests.integration.outbox.admin_pages import (
    DISPATCHED,
    LETTERS,
    VIEW,
    WAITING,
    ask,
    page_of,
    person,
    row_of,
    text_of,
)
from tests.integration.outbox.consuming import projection, replay
from tests.integration.outbox.test_admin import explained, reads, stages
from tests.integration.outbox.test_admin_dead_letters import letter
from tests.integration.outbox.test_waiting import put

pytestmark = pytest.mark.django_db

repositories, operator = admin_pages.repositories, admin_pages.operator


@pytest.fixture(autouse=True)
def _declared(repositories):
    discovery.messaging().subscribes["titles"] = projection()


def listed(client, **parameters):
    return [one.pk for one in client.get(WAITING, parameters).context["cl"].result_list]


# -- What is there to see --


def test_what_waits_is_listed_with_its_error_and_its_next_try(operator):
    first = put("n1", 1, since=90, attempts=2, last_error="ValueError: <b>no title</b>")
    second = put("n1", 2, since=80, early=True)
    third = put("n2", 1, since=70, attempts=4, due=-5)
    assert listed(operator) == [first, second, third]
    text = text_of(operator.get(WAITING))
    assert re.search(
        r"NotePublished titles 2 failed attempts next try in \d+ s ValueError: <b>no title</b>"
        r" n1 number 1 in notes 2[-0-9: ]+ UTC 1 min \d+ s ago",
        text,
    )
    assert "titles waits for its turn n1 number 2 in notes 2" in text
    assert "titles the process died in attempt 3, the next hasn't ended due " in text
    assert "<b>no title" not in operator.get(WAITING).content.decode()


def test_an_empty_list_says_what_that_means(operator):
    assert "No event waits for a subscriber: whatever came" in text_of(operator.get(WAITING))


def test_what_waits_has_a_page_that_tells_all_of_it(operator):
    key = put(attempts=2, last_error="ValueError: no title")
    response = operator.get(page_of(WAITING, key))
    text, page = text_of(response), response.content.decode()
    assert "State: 2 failed attempts Last error: ValueError: no title Next try: 2" in text
    assert 'Payload: { "noteText": "hello" }' in text
    assert "<h2>NotePublished for titles, number 1 of n1</h2>" in page
    assert "command or call c-1 NotePublished, this one" in text
    event_id = row_of(operator, WAITING).event_id
    for term in ("n1", event_id):
        for address in (DISPATCHED, LETTERS, WAITING):
            assert f'href="{address}?q={term}"' in page
    assert f'href="{DISPATCHED}?q=c-1"' in page
    assert f'href="{WAITING}?q=c-1"' not in page


def test_a_dead_letter_that_is_replayed_waits_and_leads_back_to_it(operator):
    key = letter()
    replay(key)
    assert listed(operator) == [key]
    text = text_of(operator.get(WAITING))
    assert re.search(r"titles to be replayed due \d+ s ago n1 number 1", text)
    page = operator.get(page_of(WAITING, key)).content.decode()
    assert f'<a href="{page_of(LETTERS, key)}">dead letter NoteTitled for titles' in page
    assert f'href="{WAITING}?q={key.partition(":")[2]}"' in (
        operator.get(page_of(LETTERS, key)).content.decode()
    )


def test_what_waits_no_more_leads_back_to_the_list_and_says_so(operator):
    response = operator.get(page_of(WAITING, "titles:notes:n1:1"), follow=True)
    assert response.redirect_chain == [(WAITING, 302)]
    assert "This event doesn't wait any more: it has been handled" in str(
        next(iter(response.context["messages"]))
    )


def test_search_and_filters_narrow_the_list(operator):
    first = put("n1", 1, since=9, attempts=2, last_error="ValueError: no")
    second = put("n2", 1, since=8, subscriber="other")
    assert listed(operator, q=" n2 ") == [second]
    assert listed(operator, q=row_of(operator, WAITING).event_id) == [first]
    assert listed(operator, q="n") == listed(operator, q='{"$gt": ""}') == []
    assert listed(operator, subscriber="titles") == listed(operator, state="tried") == [first]
    assert listed(operator, state="untried", topic="notes", type="NotePublished") == [second]
    assert listed(operator, state="dead") == listed(operator, subscriber="titles", q="n2") == []


@pytest.mark.parametrize(
    "query",
    [
        *("state=", "state[$ne]=x", "subscriber=%00", "type={}", "p=9999", "q=%00", "o=1", "e=1"),
        *("q=" + "x" * 5000, "since__gt=0", "subscriber=" + "x" * 5000),
    ],
)
def test_malformed_parameters_get_a_sensible_page(operator, query):
    put()
    response = operator.get(f"{WAITING}?{query}")
    assert response.status_code == 200
    assert re.search("NotePublished|No waiting event matches|nothing on page", text_of(response))


# -- Who may --


def test_it_has_a_permission_of_its_own_and_is_in_the_menu_for_who_has_it(client):
    key = put()
    client.force_login(person("ann", "view_waitingevent"))
    assert WAITING in client.get("/admin/").content.decode()
    assert client.get(page_of(WAITING, key)).status_code == 200
    client.force_login(person("bob", *(one for one in VIEW if one != "view_waitingevent")))
    assert WAITING not in client.get("/admin/").content.decode()
    for address in (WAITING, page_of(WAITING, key), f"{WAITING}log/"):
        assert client.get(address).status_code == 403


def test_there_is_nothing_to_be_done(admin_client, mongo):
    key = put()
    before = list(mongo[deferred.COLLECTION].find())
    for address in (WAITING, page_of(WAITING, key)):
        page = admin_client.get(address).content.decode()
        assert 'name="action"' not in page
        assert "Save" not in text_of(admin_client.get(address))
    for action in ("delete_selected", "replay", "discard"):
        ask(admin_client, WAITING, action, [key], across=True)
    assert admin_client.post(page_of(WAITING, key), {"attempts": 0}).status_code == 403
    assert admin_client.post(f"{WAITING}add/", {}).status_code == 403
    assert list(mongo[deferred.COLLECTION].find()) == before


# -- What it costs --

QUERIES = ["", "p=2", "state=tried", "state=untried", "subscriber=titles", "topic=notes", "q=n7"]
QUERIES += ["q=nobody", "type=NotePublished&subscriber=other", "state=tried&subscriber=titles"]


def test_the_list_costs_six_database_calls_at_most_and_reads_by_index(
    admin_client, mongo, commands
):
    put()
    [pattern] = mongo[deferred.COLLECTION].find()
    mongo[deferred.COLLECTION].insert_many(
        {
            **pattern,
            "_id": f"titles:notes:n{number}",
            "aggregate_id": f"n{number}",
            "attempts": number % 3,
            "since": clock.after(mongo, -number),
        }
        for number in range(1000)
    )
    for query in QUERIES:
        clock.now(mongo)
        filters.forget()
        commands.clear()
        with CaptureQueriesContext(sql) as queries:
            admin_client.get(f"{WAITING}?{query}")
        assert len(queries) + len(commands.events) <= 6, query
        for command in reads(commands, mongo):
            names = stages(explained(mongo, command)["queryPlanner"]["winningPlan"])
            assert "IXSCAN" in names, query
            assert not {"COLLSCAN", "SORT"} & set(names), query


def test_the_list_leaves_envelopes_with_the_server(operator):
    put()
    assert row_of(operator, WAITING).text == ""


@pytest.mark.parametrize("path", ["", "x/change/", "x/history/"])
def test_the_page_says_so_when_mongodb_is_away(path, operator, settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://secret-host.invalid:1"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    response = operator.get(WAITING + path)
    assert response.status_code == 503
    assert "secret-host" not in response.content.decode()
