"""The admin over the message store, on the real server."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.utils import quote
from django.core.management import call_command
from django.db import connection as sql
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from outbox import clock, dispatched, message_store, operations, pending
from outbox.admin import filters
from outbox.context import MessageContext
from outbox.document import relaying, saving
from outbox.mapping import Outgoing
from outbox.message_store import Selection
from tests import notes
from tests.integration.outbox import admin_pages
from tests.integration.outbox.admin_pages import DISPATCHED, PENDING, person, text_of

pytestmark = pytest.mark.django_db

repositories, write, share = admin_pages.repositories, admin_pages.write, admin_pages.share
relay, failing_relay = admin_pages.relay, admin_pages.failing_relay
operator, listed = admin_pages.operator, admin_pages.listed


# -- What is there to see --


def test_the_menu_has_both_lists_to_view_and_nothing_to_add(operator):
    page = operator.get("/admin/").content.decode()
    assert PENDING in page
    assert DISPATCHED in page
    assert "Pending messages" in page
    assert "Dispatched messages" in page
    assert "/add/" not in page


def test_a_pending_message_is_listed_with_its_fields(operator, write):
    write("note-1")
    text = text_of(operator.get(PENDING))
    assert "NotePublished due note-1 number 1 in notes 2" in text
    assert "NotePublished due note-1 number 1 in notes-internal 2" in text
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \d s ago", text)


def test_the_aggregate_longest_due_comes_first_whatever_its_partition_or_collection(
    listed, write, repositories, mongo
):
    for number in (3, 0, 4, 1, 2):
        in_letters = number % 2
        write(f"note-{number}", repository=repositories[in_letters])
        due = clock.after(mongo, -100 + number)
        mongo[("notes", "letters")[in_letters]].update_one(
            {"_id": f"note-{number}"}, {"$set": {"outbox.pending.$[].due_at": due}}
        )
    assert [row[1:] for row in listed(PENDING)] == [
        (topic, 1, f"note-{number}") for number in range(5) for topic in ("notes", "notes-internal")
    ]


def test_messages_of_an_aggregate_stand_in_the_order_in_which_they_are_published(
    listed, write, share
):
    share(write("note-1"), "ann", "bob")
    assert listed(PENDING) == [
        ("NotePublished", "notes", 1, "note-1"),
        ("NotePublished", "notes-internal", 1, "note-1"),
        ("NoteOffered", "notes", 2, "note-1"),
        ("NoteOffered", "notes", 3, "note-1"),
    ]


def test_what_lies_in_partitions_of_an_earlier_setting_is_listed_too(listed, write, settings):
    settings.OUTBOX_PARTITIONS = 64
    for number in range(20):
        write(f"note-{number}")
    settings.OUTBOX_PARTITIONS = 2
    assert len(listed(PENDING)) == 40


def test_a_message_that_failed_says_how_often_why_and_when_it_is_tried_again(
    operator, write, failing_relay
):
    write("note-1")
    failing_relay()
    text = text_of(operator.get(PENDING))
    assert re.search(r"retry in \d+ \w+( \d+ \w+)?, 1 failed attempt notes is refused", text)
    assert "stuck notes is refused" not in text
    assert "waiting" in text  # the one behind it


def test_dispatched_messages_are_listed_the_newest_first(operator, listed, write, relay):
    for number in range(3):
        write(f"note-{number}")
        relay()
    assert [row[3] for row in listed(DISPATCHED, topic="notes")] == ["note-2", "note-1", "note-0"]
    assert "UTC" in text_of(operator.get(DISPATCHED))
    assert listed(PENDING) == []


def test_empty_lists_say_what_that_means(operator):
    assert "Nothing is pending: whatever was recorded has been" in text_of(operator.get(PENDING))
    assert "Nothing was published in the time" in text_of(operator.get(DISPATCHED))
    assert "No pending message matches." in text_of(operator.get(PENDING, {"q": "nobody"}))
    assert "No dispatched message matches." in text_of(operator.get(DISPATCHED, {"q": "nobody"}))


# -- Search and filter --


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_search_finds_by_aggregate_id_event_id_and_type(address, listed, write, share, relay):
    share(write("note-1"), "ann")
    write("note-2")
    event_id = pending.messages(Selection(term="NoteOffered")).messages[0].event_id
    if address == DISPATCHED:
        relay()
    assert {row[3] for row in listed(address, q="note-1")} == {"note-1"}
    assert len(listed(address, q="note-1")) == 3
    assert listed(address, q=event_id) == [("NoteOffered", "notes", 2, "note-1")]
    assert listed(address, q="NoteOffered") == [("NoteOffered", "notes", 2, "note-1")]
    assert len(listed(address, q="NotePublished")) == 4
    assert len(listed(address, q=" note-1 ")) == 3  # as it was pasted


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
@pytest.mark.parametrize(
    "term", ["note", "note-1.", "Note", "NOTE-1", '{"$gt": ""}', "$where", ".*", "note-1 note-2"]
)
def test_search_is_for_the_exact_text_and_nothing_in_it_is_an_operator(
    address, term, operator, listed, write, relay
):
    write("note-1")
    if address == DISPATCHED:
        relay()
    assert listed(address, q=term) == []
    assert len(listed(address)) == 2


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_the_topic_filter_offers_the_declared_topics(address, operator, listed, write, relay):
    write("note-1")
    if address == DISPATCHED:
        relay()
    specs = operator.get(address).context["cl"].filter_specs
    [spec] = [one for one in specs if one.parameter_name == "topic"]
    assert spec.lookup_choices == [("notes", "notes"), ("notes-internal", "notes-internal")]
    assert [row[1] for row in listed(address, topic="notes-internal")] == ["notes-internal"]
    assert [row[1] for row in listed(address, topic="notes", q="note-1")] == ["notes"]
    assert listed(address, topic="undeclared") == []
    assert listed(address, topic='{"$gt": ""}') == []


def types_offered(response):
    page = response.content.decode().partition("By type")[2].partition("</ul>")[0]
    return re.findall(r'href="[^"]*type=(\w+)', page)


def test_the_type_filter_offers_what_is_pending_though_it_was_never_dispatched(
    operator, listed, write, share, mongo
):
    share(write("note-1"), "ann")
    mongo.notes.update_one({}, {"$set": {"outbox.pending.0.type": "NotDeclaredAnyMore"}})
    offered = types_offered(operator.get(PENDING))
    assert {"NotePublished", "NoteOffered", "NotDeclaredAnyMore"} <= set(offered)
    assert offered == sorted(set(offered))
    assert [row[0] for row in listed(PENDING, type="NoteOffered")] == ["NoteOffered"]
    # Of another page as well, of which it is none; the one in force is seen wherever it is.
    assert "NoteOffered" in types_offered(operator.get(PENDING, {"p": 9}))
    assert "Gone" in types_offered(operator.get(PENDING, {"type": "Gone"}))


# -- Pages --


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_pages_hold_each_message_once_and_count_nothing(address, operator, listed, write, relay):
    for number in range(60):
        write(f"note-{number}")
    if address == DISPATCHED:
        relay()
    pages = [listed(address, p=number) for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({row for page in pages for row in page}) == 120
    texts = [text_of(operator.get(address, {"p": number})) for number in (1, 2, 3, 4)]
    assert "Page 1 Next" in texts[0]
    assert "Previous Page 2 Next" in texts[1]
    assert "Previous Page 3" in texts[2]
    assert "Next" not in texts[2]
    assert "nothing on page 4" in texts[3]
    assert not any("120" in text or "60" in text for text in texts)


def test_paging_keeps_search_and_filter(operator, write):
    for number in range(60):
        write(f"note-{number}")
    changes = operator.get(PENDING, {"q": "NotePublished", "topic": "notes"}).context["cl"]
    assert changes.next_page == "?p=2&q=NotePublished&topic=notes"
    assert operator.get(PENDING + changes.next_page).context["cl"].result_count == 10


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_a_list_ends_at_its_reach_and_says_so(address, operator, listed, write, relay, monkeypatch):
    monkeypatch.setattr(message_store, "REACH", 100)
    for number in range(120):
        write(f"note-{number}")
    if address == DISPATCHED:
        relay()
    response = operator.get(address, {"p": 99})
    assert response.context["cl"].page_num == 2
    assert response.context["cl"].next_page is None
    assert "There are more: this list looks only at the" in text_of(response)
    # A rare one that lies further on is not found among those looked at, which is said as well.
    rare = operator.get(address, {"q": "NotePublished", "topic": "undeclared"})
    assert re.search(r"No \w+ message matches\. There are more", text_of(rare))
    assert "There are more" not in text_of(operator.get(address, {"q": "note-119"}))
    assert {row[3] for row in listed(address, q="note-119")} == {"note-119"}


MALFORMED = [
    *("p=abc", "p=-1", "p=0", "p=", f"p={10**30}", "p=" + "9" * 5000, "p=1&p=2", "e=1", "all="),
    *("o=1.-2", "o=abc", "_facets=True", "_popup=1", "sequence__gt=0", "type=x", "topic__in=a"),
    *("q[$gt]=", "q=%00", "q=%ff", "q=" + "x" * 5000, "payload__contains=x", "e=1&type=x"),
    *("topic=", "topic=%00", "topic[$ne]=x"),
]


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_malformed_parameters_get_a_sensible_page(address, operator, write, relay):
    write("note-1")
    if address == DISPATCHED:
        relay()
    for query in MALFORMED:
        response = operator.get(f"{address}?{query}")
        assert response.status_code == 200, query
        text = text_of(response)
        assert re.search(r"NotePublished|No \w+ message matches|nothing on page", text), query


# -- One message --


def test_a_pending_message_has_a_page_with_its_readable_payload(operator, write):
    write("note-1", text="good news")
    [row] = operator.get(PENDING, {"topic": "notes"}).context["cl"].result_list
    response = operator.get(reverse("admin:outbox_pendingmessage_change", args=[quote(row.pk)]))
    content, text = unescape(response.content.decode()), text_of(response)
    assert '{\n  "noteText": "good news"\n}' in content
    stored = pending.message("notes", "note-1", row.event_id)
    assert f"Correlation id: {stored.metadata['correlationId']}" in text
    assert f"What caused what: command or call {stored.metadata['causationId']}" in text
    assert f"Event id: {row.event_id}" in text
    assert "Version: 1.1" in text
    assert "Collection: notes" in text
    assert f'href="{PENDING}?q=note-1"' in content
    assert f'href="{DISPATCHED}?q=note-1"' in content
    assert 'name="_save"' not in content


def test_the_page_of_a_failed_message_shows_the_whole_error(operator, write, failing_relay):
    write("note-1")
    failing_relay()
    [row] = operator.get(PENDING, {"topic": "notes"}).context["cl"].result_list
    text = text_of(operator.get(f"{PENDING}{quote(row.pk)}/change/"))
    assert re.search(r"State: retry in [^,]+, 1 failed attempt Next try:", text)
    assert "Last error: notes is refused" in text


def test_a_dispatched_message_has_a_page_with_its_readable_payload(operator, write, relay):
    write("note-1", text="good news")
    relay()
    [row] = operator.get(DISPATCHED, {"topic": "notes"}).context["cl"].result_list
    response = operator.get(f"{DISPATCHED}{quote(row.pk)}/change/")
    assert '{\n  "noteText": "good news"\n}' in unescape(response.content.decode())
    assert "Dispatched at: 2" in text_of(response)
    assert operator.get(f"{DISPATCHED}{quote(row.pk)}/history/").status_code == 200


@pytest.mark.parametrize(
    "id", ["a/b", "a_b/c", "a:b", "é ü", "x?y=1&z#h", "<b>", '"', "a" * 900, "../..", "_5F"]
)
def test_any_aggregate_id_can_be_opened_and_searched_for(id, operator, listed, write):
    write(id)
    rows = operator.get(PENDING, {"q": id}).context["cl"].result_list
    assert {row.aggregate_id for row in rows} == {id}
    page = operator.get(f"{PENDING}{quote(rows[0].pk)}/change/")
    assert page.status_code == 200
    assert page.context["original"].aggregate_id == id


def test_what_a_message_holds_is_escaped(operator, write, relay):
    evil = "<script>alert(1)</script>"
    write(evil, text=evil)
    rows = operator.get(PENDING, {"q": evil}).context["cl"].result_list
    pages = [operator.get(PENDING, {"q": evil}), operator.get(f"{PENDING}{quote(rows[0].pk)}/")]
    relay()
    pages.append(operator.get(DISPATCHED, {"q": evil, "topic": evil}))
    pages.append(operator.get(f"{DISPATCHED}{quote(rows[0].event_id)}/change/"))
    for page in pages:
        assert "<script>alert" not in page.content.decode()


def test_a_message_dispatched_before_its_page_was_opened_is_shown_as_dispatched(
    operator, write, relay
):
    write("note-1")
    row = operator.get(PENDING).context["cl"].result_list[0]
    relay()
    response = operator.get(f"{PENDING}{quote(row.pk)}/change/", follow=True)
    assert response.redirect_chain == [(f"{DISPATCHED}{quote(row.event_id)}/change/", 302)]
    assert "has been dispatched in the meantime" in response.content.decode()


@pytest.mark.parametrize("key", ["nothing", "a/b/c", "a/notes/c", "a/admin.system/c", "$ne", "%00"])
@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_an_unknown_message_leads_back_with_a_warning(address, key, operator):
    response = operator.get(f"{address}{quote(key)}/change/", follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    assert "Perhaps it was deleted?" in response.content.decode()


# -- Who may --


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_strangers_are_asked_to_log_in(address, client):
    response = client.get(address)
    assert response.status_code == 302
    assert response.url.startswith("/admin/login/")


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_staff_without_the_view_permission_is_refused(address, client, write, relay):
    write("note-1")
    row = pending.messages().messages[0]
    relay()
    key = f"{row.event_id}/notes/note-1" if address == PENDING else row.event_id
    client.force_login(person("other"))
    for path in ("", f"{quote(key)}/change/", f"{quote(key)}/history/"):
        assert client.get(address + path).status_code in ((403,) if not path else (302, 403))
    assert address not in client.get("/admin/").content.decode()


def test_each_list_has_its_own_permission(client):
    client.force_login(person("half", "view_dispatchedmessage"))
    assert client.get(DISPATCHED).status_code == 200
    assert client.get(PENDING).status_code == 403


def test_nobody_adds_changes_or_deletes(admin_client, write, mongo):
    write("note-1")
    before = list(mongo.notes.find())
    row = admin_client.get(PENDING).context["cl"].result_list[0]
    one = PENDING + quote(row.pk)
    assert admin_client.get(f"{PENDING}add/").status_code == 403
    assert admin_client.post(f"{PENDING}add/", {"type": "x"}).status_code == 403
    assert admin_client.post(f"{one}/change/", {"type": "x"}).status_code == 403
    assert admin_client.post(f"{one}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(PENDING, {"action": "delete_selected", "_selected_action": row.pk})
    assert list(mongo.notes.find()) == before


# -- What it costs --


def reads(commands, database):
    """The reading commands sent to the test's database."""
    return [
        event.command
        for event in commands.events
        if event.database_name == database.name and event.command_name in ("aggregate", "find")
    ]


def stages(plan):
    """The names of all stages of a plan."""
    if isinstance(plan, list):
        return [name for one in plan for name in stages(one)]
    if not isinstance(plan, dict):
        return []
    own = [plan["stage"]] if "stage" in plan else []
    return own + [name for value in plan.values() for name in stages(value)]


def explained(mongo, command):
    """How the server does the part of a command that reads from the collection.

    Nothing is sorted, unless it has been limited before.
    """
    asked = {k: v for k, v in command.items() if not k.startswith(("$", "lsid", "maxTimeMS"))}
    plan = mongo.command("explain", asked, verbosity="executionStats")
    if "stages" not in plan:
        return plan
    limited = {"$limit": message_store.REACH} in command["pipeline"]
    assert limited or not [stage for stage in plan["stages"] if "$sort" in stage]
    return plan["stages"][0]["$cursor"]


LISTS = [
    *((PENDING, f"state={state}") for state in ("stuck", "failed", "untried")),
    *((PENDING, query) for query in ("age=over-day", "type=NotePublished", "q=correlation")),
    *((DISPATCHED, query) for query in ("type=NotePublished", "q=correlation")),
    *((DISPATCHED, query) for query in ("age=under-hour", "age=over-day&topic=notes")),
    *((PENDING, query) for query in ("", "p=2", "topic=notes", "q=note-7", "q=NotePublished")),
    *((PENDING, query) for query in ("q=nobody", "q=NoteOffered&topic=notes-internal")),
    *((DISPATCHED, query) for query in ("", "p=2", "topic=notes", "q=note-7", "q=NotePublished")),
    *((DISPATCHED, query) for query in ("q=nobody", "q=NotePublished&topic=undeclared")),
]


def fill(mongo, number, start=0):
    """Documents and archive as `number` notes leave them, quicker than by writing each."""
    at = clock.now(mongo)
    context = MessageContext()
    inserts, entries = [], []
    for one in range(start, start + number):
        messages = [
            Outgoing(topic, notes.NotePublished(note_text="hello"))
            for topic in ("notes", "notes-internal")
        ]
        fields = {"text": "hello"}
        due = at + timedelta(milliseconds=one)
        new, _ = saving.insert(f"note-{one}", fields, messages, due, context)
        inserts.append(new)
        entries += relaying.due_envelopes(new, due)[0]
        # As many that have nothing pending, which is what most documents are like.
        idle, _ = saving.insert(f"idle-{one}", fields, [], due, context)
        inserts.append(idle)
    mongo.notes.insert_many(inserts)
    dispatched.archive(mongo, "notes", entries, at)


def test_a_list_costs_six_database_calls_at_most_and_no_more_at_any_size(
    admin_client, mongo, commands
):
    costs, started = [], 0
    for number in (60, 1000):
        fill(mongo, number, started)
        started += number
        for address, query in LISTS:
            clock.now(mongo)
            filters.forget()
            commands.clear()
            with CaptureQueriesContext(sql) as queries:
                admin_client.get(f"{address}?{query}")
            costs.append(len(queries) + len(commands.events))
    small, large = costs[: len(LISTS)], costs[len(LISTS) :]
    for asked, before, after in zip(LISTS, small, large, strict=True):
        assert after <= before <= 6, asked


def test_a_far_page_with_tombstones_costs_six_calls_as_well(admin_client, mongo, commands):
    fill(mongo, 300)
    keys = [str(one) for one in pending.keys(Selection())]
    operations.discard(keys, reason="no use", by="ann")
    clock.now(mongo)
    filters.forget()
    commands.clear()
    with CaptureQueriesContext(sql) as queries:
        page = admin_client.get(PENDING, {"p": 9})
    assert text_of(page).count("its tombstone is due by ann: no use") == 50
    # Beside the rest of what comes first, which is the driver's to fetch.
    asked = [one for one in commands.events if one.command_name != "getMore"]
    assert len(queries) + len(asked) <= 6
    [command] = [
        one for one in reads(commands, mongo) if one.get("aggregate") == "outbox_discarded"
    ]
    plan = mongo.command(
        "explain", {name: command[name] for name in ("aggregate", "pipeline", "cursor")}
    )
    assert not {"COLLSCAN", "SORT"} & set(stages(plan))


def test_the_names_to_choose_from_are_asked_for_once_in_a_while(admin_client, mongo, commands):
    fill(mongo, 3)
    admin_client.get(DISPATCHED)
    commands.clear()
    admin_client.get(DISPATCHED)
    assert [event.command_name for event in commands.events] == ["aggregate"]


def test_a_list_reads_by_index_and_sorts_nothing(operator, mongo, commands):
    fill(mongo, 1000)
    for address, query in LISTS:
        commands.clear()
        operator.get(f"{address}?{query}")
        examined = 0
        for command in reads(commands, mongo):
            plan = explained(mongo, command)
            names = stages(plan["queryPlanner"]["winningPlan"])
            if "EOF" not in names:  # which is all there is to the other, empty collection
                assert {"IXSCAN", "IDHACK"} & set(names), (address, query)
            assert not {"COLLSCAN", "SORT"} & set(names), (address, query)
            examined += plan["executionStats"]["totalDocsExamined"]
        # What no index serves is looked for in no more than `REACH`, and once more to tell if
        # there are others.
        looks = any(word in query for word in ("undeclared", "age")) or (
            address == PENDING and query not in ("", "p=2", "q=note-7")
        )
        assert examined <= (2000 if looks else 150), (address, query)


def test_a_page_of_one_message_costs_a_few_queries(operator, mongo, commands):
    fill(mongo, 3)
    row = operator.get(PENDING).context["cl"].result_list[0]
    # The message; its conversation, in the archive and in both collections; its dead letters.
    for address, key, most in ((PENDING, row.pk, 4), (DISPATCHED, row.event_id, 5)):
        commands.clear()
        assert operator.get(f"{address}{quote(key)}/change/").status_code == 200
        assert len(reads(commands, mongo)) <= most


def test_lists_leave_payloads_with_the_server(mongo, write, relay):
    write("note-1")
    assert pending.messages().messages[0].payload == ""
    relay()
    assert dispatched.messages().messages[0].payload == ""


# -- When something is missing --


@pytest.mark.parametrize(
    "path", [PENDING, DISPATCHED, f"{DISPATCHED}x/change/", f"{PENDING}x_2Fnotes_2Fy/"]
)
def test_the_page_says_so_when_mongodb_is_away(path, operator, settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://secret-host.invalid:1"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    response = operator.get(path, follow=True)
    assert response.status_code == 503
    assert "MongoDB can't be reached or doesn't answer" in text_of(response)
    assert "secret-host" not in response.content.decode()


@pytest.mark.parametrize("query", ["", "?q=NotePublished", "?topic=notes"])
def test_the_page_says_so_when_the_index_is_missing(query, operator, write, mongo):
    write("note-1")
    mongo.notes.drop_index("outbox_due")
    response = operator.get(PENDING + query)
    assert response.status_code == 503
    assert "manage.py outbox_indexes" in text_of(response)


def test_the_in_process_store_has_the_same_pages(operator, settings, listed, write, relay):
    settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_DATABASE = "mongomock://", "admin"
    for number in range(60):
        write(f"note-{number}")
    assert len(listed(PENDING, p=2)) == 50
    assert len(listed(PENDING, q="note-7")) == 2
    assert len(listed(PENDING, q="NotePublished", topic="notes")) == 50
    relay()
    assert len(listed(DISPATCHED, p=3)) == 20
    assert len(listed(DISPATCHED, q="NotePublished", topic="notes")) == 50


def test_no_migration_is_missing():
    call_command("makemigrations", "outbox", check=True, dry_run=True, verbosity=0)


def test_the_app_needs_neither_admin_nor_auth_nor_celery_nor_rest_framework():
    code = """
import sys
for name in ("celery", "kombu", "rest_framework", "django.contrib.admin", "django.contrib.auth"):
    sys.modules[name] = None
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["outbox"], OUTBOX_MONGODB_URI="mongomock://", OUTBOX_WAKE=None)
django.setup()
from django.core.management import call_command
from django.db import connection as sql
from django.test.utils import CaptureQueriesContext
call_command("check", fail_level="INFO")
call_command("makemigrations", "outbox", check=True, dry_run=True)
from outbox import dispatched, pending
assert pending.messages().messages == dispatched.messages().messages == []
"""
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
