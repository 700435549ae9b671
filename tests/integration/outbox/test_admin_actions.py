"""What people do about pending and dispatched messages in the admin, on the real server."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connections as sql
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from outbox import (
    admin_log,
    discarded,
    dispatched,
    message_store,
    operations,
    pending,
    publishers,
)
from outbox.errors import BrokerUnavailable, StoreUnavailable
from outbox.message_store import Selection
from outbox.models import PendingMessage
from tests.integration.outbox import admin_pages
from tests.integration.outbox.admin_pages import (
    DISPATCHED,
    PENDING,
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

pytestmark = pytest.mark.django_db

repositories, write, share = admin_pages.repositories, admin_pages.write, admin_pages.share
relay, failing_relay = admin_pages.relay, admin_pages.failing_relay

MAY = ("retry_pendingmessage", "discard_pendingmessage", "replay_dispatchedmessage")

#: (list, action, permission)
ACTIONS = [
    (PENDING, "retry", "retry_pendingmessage"),
    (PENDING, "discard", "discard_pendingmessage"),
    (DISPATCHED, "replay", "replay_dispatchedmessage"),
]


@pytest.fixture
def somebody(client):
    """A client logged in with all the permissions there are here."""
    client.force_login(person("ann", *VIEW, *MAY))
    return client


@pytest.fixture
def failed(write, failing_relay):
    """Two messages that have failed, of three notes; their keys."""

    def failed(*ids):
        for id in ids:
            write(id)
        failing_relay()
        return [one.key for one in pending.messages(Selection(state="failed")).messages]

    return failed


@pytest.fixture
def published(monkeypatch):
    """The publisher that a replay publishes with."""
    publishers._publisher.cache_clear()
    yield publishers.configured()
    publishers._publisher.cache_clear()


def attempts():
    """How often each first message has failed, by aggregate."""
    found = pending.messages(Selection(topic="notes")).messages
    return {one.aggregate_id: one.attempts for one in found}


# -- Retry --


def test_one_message_is_retried_from_its_page(somebody, failed):
    [key] = failed("note-1")
    page = somebody.get(page_of(PENDING, key)).content.decode()
    assert re.search(r'<button type="submit" name="action" value="retry">\s*Retry now', page)
    asked = ask(somebody, PENDING, "retry", [key], from_page="1")
    assert "Retry now: 1 pending message" in text_of(asked)
    assert attempts() == {"note-1": 1}  # asking does nothing
    done = confirm(somebody, asked)
    assert done.redirect_chain == [(page_of(PENDING, key), 302)]
    assert told(done) == ["1 pending message will be tried again at once."]
    assert attempts() == {"note-1": 0}
    assert logged() == [("ann", key, "Retry now.")]


def test_only_the_selected_are_retried_and_their_history_says_so(somebody, failed):
    keys = failed("note-1", "note-2", "note-3")
    done = confirm(somebody, ask(somebody, PENDING, "retry", keys[:2]), "the broker has room again")
    assert told(done) == ["2 pending messages will be tried again at once."]
    assert sorted(attempts().values()) == [0, 0, 1]
    message = "Retry now: the broker has room again"
    assert logged() == [("ann", keys[0], message), ("ann", keys[1], message)]
    history = somebody.get(page_of(PENDING, keys[0]).replace("/change/", "/history/"))
    assert "ann Retry now: the broker has room again" in text_of(history)


def test_all_that_match_are_retried_with_one_entry_for_all(somebody, failed, write):
    keys = failed("note-1", "note-2")
    write("note-3")
    asked = ask(somebody, PENDING + "?state=failed&topic=notes", "retry", keys[:1], across=True)
    assert "Retry now: 2 pending messages" in text_of(asked)
    assert (
        "What matches at the moment when you say yes: topic notes, state failed at least once."
        in text_of(asked)
    )
    done = confirm(somebody, asked)
    assert told(done) == ["2 pending messages will be tried again at once."]
    assert attempts() == {"note-1": 0, "note-2": 0, "note-3": 0}
    assert logged() == [("ann", None, "Retry now: topic notes, state failed at least once: 2.")]
    assert "Retry now: topic notes, state failed at least once: 2. all that matched" in text_of(
        somebody.get(PENDING + "log/")
    )


def test_the_log_names_each_cell_for_a_narrow_screen_as_the_overview_does(somebody, failed):
    keys = failed("note-1")
    confirm(somebody, ask(somebody, PENDING, "retry", keys), "mended")
    page = somebody.get(PENDING + "log/").content.decode()
    assert '<table class="outbox-table">' in page
    assert re.findall(r'<td data-label="([^"]+)"', page) == ["Who", "What and why", "To which"]
    history = somebody.get(page_of(PENDING, keys[0]).replace("/change/", "/history/"))
    assert "outbox/admin.css" in page
    assert "outbox/admin.css" in history.content.decode()


def test_all_that_match_are_no_more_than_are_taken_on_at_a_time(somebody, failed, monkeypatch):
    monkeypatch.setattr(operations, "MOST", 2)
    monkeypatch.setattr(operations.count, "__defaults__", (2,))
    monkeypatch.setitem(operations.retry.__kwdefaults__, "most", 2)
    keys = failed("note-1", "note-2", "note-3")
    asked = ask(somebody, PENDING + "?state=failed", "retry", keys[:1], across=True)
    assert "Retry now: the first 2 pending messages" in text_of(asked)
    assert "No more than 2 at a time." in text_of(asked)
    [message] = told(confirm(somebody, asked))
    assert message.startswith("2 pending messages will be tried again at once. There are more")
    assert sorted(attempts().values()) == [0, 0, 1]


def test_a_list_that_ends_before_the_messages_offers_all_without_a_number(somebody, write):
    for number in range(30):
        write(f"note-{number}")
    assert "Select all that match (at most 5,000 at a time)" in text_of(somebody.get(PENDING))
    assert "Select all that match" not in text_of(somebody.get(PENDING, {"topic": "notes"}))


@pytest.mark.parametrize(
    "query", ["state=stuk", "age=for-ever", "topic=nothing", "type=", "state=failed&age=$gt"]
)
def test_a_filter_that_means_nothing_never_means_all(somebody, failed, query):
    keys = failed("note-1")
    asked = ask(somebody, f"{PENDING}?{query}", "discard", keys, across=True)
    if asked.status_code == 302:
        assert told(somebody.get(PENDING)) == ["Nothing matches, so nothing was done."]
    else:
        assert "nothing matches any more" in text_of(asked)
        confirm(somebody, asked, "by mistake")
    assert attempts() == {"note-1": 1}
    assert logged() == []


def test_what_is_chosen_is_told_by_what_somebody_knows_it_by_and_its_id(somebody, failed):
    [key] = failed("note-1")
    text = text_of(ask(somebody, PENDING, "retry", [key, "gone/notes/note-2"]))
    event_id = key.partition("/")[0]
    when = r"occurred [-\d]+ [:\d]+ UTC \d+ s ago"
    assert re.search(rf"NotePublished, number 1 of note-1 in notes, {when} {event_id}", text)
    assert key not in text
    assert "gone/notes/note-2, which isn't there any more" in text


@pytest.mark.parametrize("address", [PENDING, DISPATCHED])
def test_a_label_selects_all_where_the_head_of_the_list_is_not_shown(address, somebody, both):
    page = somebody.get(address).content.decode()
    assert '<input type="checkbox" id="action-toggle"' in page
    assert re.search(r'<label [^>]*for="action-toggle">Select all on this page</label>', page)


# -- Discard --


def test_a_message_is_discarded_with_a_reason_and_the_archive_tells_of_it(
    somebody, write, relay, failed
):
    [key] = failed("note-1")
    asked = ask(somebody, PENDING, "discard", [key], from_page="1")
    refused = confirm(somebody, asked, "  ")
    assert "Give a reason: somebody will want to know." in text_of(refused)
    assert discarded.message(key.partition("/")[0]) is None
    done = confirm(somebody, refused, "nobody can read <it>")
    assert told(done) == ["1 pending message was discarded: a tombstone is published in its place."]
    assert logged() == [("ann", key, "Discard: nobody can read <it>")]
    relay()
    event_id = key.partition("/")[0]
    text = text_of(somebody.get(page_of(DISPATCHED, event_id)))
    assert "By: ann Reason: nobody can read <it>" in text
    assert 'Its payload was: { "noteText": "hello" }' in text
    assert "Payload: null" in text
    # The same message, though it is another object now.
    history = text_of(somebody.get(page_of(DISPATCHED, event_id).replace("change", "history")))
    assert "Discard: nobody can read <it>" in history


def test_a_message_that_is_discarded_says_so_while_its_tombstone_waits(somebody, failed):
    [key] = failed("note-1")
    event_id = key.partition("/")[0]
    confirm(somebody, ask(somebody, PENDING, "discard", [key]), "nobody can read <it>")
    text = text_of(somebody.get(PENDING, {"topic": "notes"}))
    assert "discarded, its tombstone is due by ann: nobody can read <it> note-1" in text
    assert "discarded" not in text_of(somebody.get(PENDING, {"topic": "notes-internal"}))
    page = somebody.get(page_of(PENDING, key))
    text = text_of(page)
    assert "State: discarded, its tombstone is due Next try" in text
    assert "By: ann Reason: nobody can read <it>" in text
    assert 'Its payload was: { "noteText": "hello" }' in text
    assert "Payload: null" in text
    assert 'value="retry"' in page.content.decode()
    assert 'value="discard"' not in page.content.decode()
    # Whoever does it all the same, from a list, is told.
    asked = ask(somebody, PENDING, "discard", [key])
    assert f"{event_id} discarded already" in text_of(asked)
    done = confirm(somebody, asked, "again")
    assert told(done) == ["Nothing was done. 1 is no longer pending, or was discarded before."]
    assert discarded.message(event_id).reason == "nobody can read <it>"
    assert len(logged()) == 1


def test_a_tombstone_that_failed_says_so_and_one_that_nobody_knows_of_any_more(
    somebody, failed, failing_relay, mongo
):
    [key] = failed("note-1")
    confirm(somebody, ask(somebody, PENDING, "discard", [key]), "no use")
    failing_relay()
    text = text_of(somebody.get(PENDING, {"topic": "notes"}))
    assert re.search(
        r"discarded, its tombstone: retry in [^,]+, 1 failed attempt by ann: no use notes is", text
    )
    mongo.outbox_discarded.delete_many({})
    text = text_of(somebody.get(PENDING, {"topic": "notes"}))
    assert re.search(r"discarded, its tombstone: retry in [^,]+, 1 failed attempt notes is", text)
    assert "Discarded at: not known any more" in text_of(somebody.get(page_of(PENDING, key)))


def test_a_message_of_which_a_discard_died_halfway_is_not_taken_for_discarded(somebody, failed):
    [key] = failed("note-1")
    event_id, collection, aggregate_id = key.split("/")
    entry = {"event_id": event_id, "payload": "{}"}
    at = message_store.now()
    discarded.keep(collection, [(aggregate_id, entry)], at=at, by="ann", reason="no use")
    assert "discarded" not in text_of(somebody.get(PENDING))
    page = somebody.get(page_of(PENDING, key))
    assert "discarded" not in text_of(page)
    assert 'value="discard"' in page.content.decode()


@pytest.mark.parametrize("in_process", [False, True])
def test_what_a_list_tells_of_tombstones_costs_one_request_at_any_number(
    in_process, somebody, settings, write, commands
):
    if in_process:
        settings.OUTBOX_MONGODB_URI = "mongomock://"
        settings.OUTBOX_MONGODB_DATABASE = f"unit_{uuid.uuid4().hex}"
    for number in range(3):
        write(f"note-{number}")
    keys = [one.key for one in pending.messages(Selection(topic="notes")).messages]
    somebody.get(PENDING)
    commands.clear()
    somebody.get(PENDING)
    before = len(commands.events)
    operations.discard(keys, reason="no use", by="ann")
    commands.clear()
    assert text_of(somebody.get(PENDING)).count("its tombstone is due by ann: no use") == 3
    assert len(commands.events) == before


def test_all_that_match_are_discarded(somebody, failed):
    keys = failed("note-1", "note-2")
    asked = ask(somebody, PENDING + "?state=failed", "discard", keys[:1], across=True)
    done = confirm(somebody, asked, "gone")
    assert told(done)[0].startswith(
        "2 pending messages were discarded: a tombstone is published in the"
    )
    assert {discarded.message(key.partition("/")[0]).reason for key in keys} == {"gone"}
    assert logged() == [("ann", None, "Discard: state failed at least once: 2. gone")]


def test_what_was_dispatched_meanwhile_is_said_and_not_logged(somebody, write, relay):
    write("note-1")
    key = row_of(somebody, PENDING).pk
    asked = ask(somebody, PENDING, "discard", [key])
    relay()
    done = confirm(somebody, asked, "too late")
    assert told(done) == ["Nothing was done. 1 is no longer pending, or was discarded before."]
    assert logged() == []
    assert dispatched.message(key.partition("/")[0]).payload != "null"


# -- Replay --


def test_a_replay_says_how_many_and_which_before_it_publishes(somebody, write, relay, published):
    for number in range(8):
        write(f"note-{number}")
    relay()
    rows = somebody.get(DISPATCHED, {"topic": "notes"}).context["cl"].result_list
    asked = ask(somebody, DISPATCHED + "?topic=notes", "replay", [rows[0].pk], across=True)
    text = text_of(asked)
    assert "Replay: 8 dispatched messages" in text
    assert "8 are in the archive; the oldest: NotePublished, number 1 of note-0 in notes" in text
    assert "note-5" not in text
    assert not published.streams
    done = confirm(somebody, asked, "a new subscriber")
    assert told(done) == ["8 dispatched messages were published again."]
    assert {name: len(texts) for name, texts in published.streams.items()} == {"notes": 8}
    assert logged() == [("ann", None, "Replay: topic notes: 8. a new subscriber")]


def test_the_selected_are_replayed(somebody, write, relay, published):
    for number in range(3):
        write(f"note-{number}")
    relay()
    rows = somebody.get(DISPATCHED, {"topic": "notes"}).context["cl"].result_list
    chosen = [one.pk for one in rows[:2]]
    done = confirm(somebody, ask(somebody, DISPATCHED, "replay", chosen))
    assert told(done) == ["2 dispatched messages were published again."]
    assert len(published.streams["notes"]) == 2
    assert logged() == [("ann", key, "Replay.") for key in chosen]


def test_a_broker_that_is_away_is_told_in_plain_words(somebody, write, relay, monkeypatch):
    write("note-1")
    relay()

    def away(*_, **__):
        raise BrokerUnavailable("Error 111 connecting to secret-host:6379. Connection refused.")

    monkeypatch.setattr(publishers.configured(), "publish", away)
    key = row_of(somebody, DISPATCHED).pk
    done = confirm(somebody, ask(somebody, DISPATCHED, "replay", [key]), "please")
    [message] = told(done)
    assert "The broker can't be reached or doesn't answer." in message
    assert "secret-host" not in done.content.decode()
    assert logged() == [("ann", key, "Replay: broken off. please")]


def test_a_message_that_the_broker_refuses_is_told_with_what_it_says(
    somebody, write, relay, published
):
    write("note-1")
    relay()
    published.refused = {"notes", "notes-internal"}
    key = row_of(somebody, DISPATCHED).pk
    [message] = told(confirm(somebody, ask(somebody, DISPATCHED, "replay", [key])))
    assert "is refused" in message


# -- Who may --


@pytest.fixture
def both(write, relay):
    """A message in each of the lists; (address, key) of each."""
    write("note-1")
    relay()
    write("note-2")
    waiting = pending.messages(Selection(term="note-2")).messages[0]
    return {PENDING: waiting.key, DISPATCHED: dispatched.messages().messages[0].event_id}


@pytest.mark.parametrize(("address", "action", "permission"), ACTIONS)
def test_each_action_has_its_own_permission(
    address, action, permission, client, both, mongo, published, commands
):
    client.force_login(person("bob", *VIEW, *(set(MAY) - {permission})))
    pages = client.get(address), client.get(page_of(address, both[address]))
    assert not any(f'value="{action}"' in page.content.decode() for page in pages)
    before = list(mongo.notes.find())
    posted = {"once": str(uuid.uuid4()), "reason": "because", "post": "yes"}
    commands.clear()
    for across in (False, True):
        for more in ({}, posted):
            assert (
                ask(client, address, action, [both[address]], across=across, **more).status_code
                == 403
            )
    assert ask(client, address, action, []).status_code == 403
    assert commands.events == []  # refused before anything is asked
    assert list(mongo.notes.find()) == before
    assert not published.streams
    assert logged() == []


@pytest.mark.parametrize(("address", "action", "permission"), ACTIONS)
def test_a_refusal_is_a_page_of_the_admin_that_says_which_permission_is_missing(
    address, action, permission, client, both
):
    client.force_login(person("bob", *VIEW, *(set(MAY) - {permission})))
    key, narrowed = both[address], f"{address}?topic=notes"
    name = {PENDING: "pending message", DISPATCHED: "dispatched message"}[address]
    posts = {
        narrowed: ask(client, narrowed, action, [key]),
        page_of(address, key): ask(client, address, action, [key], from_page="1"),
        address: ask(client, address, action, [], once="forged", reason="because"),
    }
    for back, response in posts.items():
        assert response.status_code == 403
        assert 'name="viewport"' in response.content.decode()
        assert "dark_mode" in response.content.decode()
        assert f"You may not {action} {name}s, so nothing was done." in text_of(response)
        assert f"“Can {action} {name}” ( outbox.{permission} )" in text_of(response)
        assert f'<a href="{back}">Back' in response.content.decode()


def test_who_may_not_see_a_list_is_told_so_and_led_to_the_first_page(client, both):
    client.force_login(person("bob", *MAY))
    for address, key in both.items():
        for response in (
            client.get(address),
            client.get(page_of(address, key)),
            client.get(address + "log/"),
            ask(client, address, "discard", [key]),
        ):
            assert response.status_code == 403
            name = address.split("/")[-2]
            assert f"outbox.view_{name}" in text_of(response)
            assert '<a href="/admin/">Back' in response.content.decode()
            assert f'<a href="{address}' not in response.content.decode()


def test_what_nobody_may_is_told_without_a_permission(somebody, both):
    for address, key in both.items():
        for path in (f"{address}add/", page_of(address, key)):
            response = somebody.post(path, {"type": "x"})
            assert response.status_code == 403
            assert "Nobody adds, changes or deletes" in text_of(response)
            assert f'<a href="{address}">Back' in response.content.decode()


@pytest.mark.parametrize(("address", "action", "permission"), ACTIONS)
def test_who_has_the_permission_is_offered_the_action(address, action, permission, client, both):
    client.force_login(person("bob", *VIEW, permission))
    pages = client.get(address), client.get(page_of(address, both[address]))
    assert all(f'value="{action}"' in page.content.decode() for page in pages)
    choices = pages[0].context["action_form"].fields["action"].choices
    assert [name for name, _ in choices] == ["", action]


@pytest.mark.parametrize(("address", "action", "permission"), ACTIONS)
def test_an_action_needs_the_permission_to_see_the_list_too(
    address, action, permission, client, both
):
    client.force_login(person("bob", permission))
    assert ask(client, address, action, [both[address]]).status_code == 403
    assert client.get(address + "log/").status_code == 403


@pytest.mark.parametrize(("address", "action", "permission"), ACTIONS)
def test_strangers_and_forged_forms_are_refused(address, action, permission, both):
    stranger = Client()
    assert ask(stranger, address, action, [both[address]]).url.startswith("/admin/login/")
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(person("bob", *VIEW, *MAY))
    assert ask(forged, address, action, [both[address]]).status_code == 403


def test_an_address_alone_does_nothing(somebody, failed):
    [key] = failed("note-1")
    query = {"action": "retry", "_selected_action": key, "once": str(uuid.uuid4()), "index": "0"}
    assert somebody.get(PENDING, query).status_code == 200
    assert attempts() == {"note-1": 1}


@pytest.mark.parametrize("once", ["", "x", "1" * 5000, "{}"])
def test_a_form_that_the_admin_has_not_made_is_refused(somebody, failed, once):
    [key] = failed("note-1")
    assert ask(somebody, PENDING, "retry", [key], once=once).status_code == 400
    assert attempts() == {"note-1": 1}


@pytest.mark.parametrize("keys", [[], ["nothing"], ["a/b/c"], ["\x00"], ["$ne"], ["x" * 5000]])
def test_keys_that_are_none_do_no_harm(somebody, failed, keys):
    failed("note-1")
    asked = ask(somebody, PENDING, "discard", keys)
    if asked.status_code == 200:
        done = confirm(somebody, asked, "because")
        assert "no longer pending" in told(done)[0]
    else:
        assert asked.status_code == 302
    assert attempts() == {"note-1": 1}
    assert logged() == []


# -- Once --


def test_clicking_twice_has_one_effect_and_says_so(somebody, failed, failing_relay, mongo):
    [key] = failed("note-1")
    asked = ask(somebody, PENDING, "retry", [key])
    confirm(somebody, asked)
    failing_relay()
    assert attempts() == {"note-1": 1}
    [message] = told(confirm(somebody, asked))
    assert re.fullmatch(
        r"This has been done already, by ann, at [-\d]+ [:\d]+ UTC: 1 was acted on\.", message
    )
    assert attempts() == {"note-1": 1}
    assert len(logged()) == 1


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_have_one_effect(somebody, write, relay, published, commands):
    write("note-1")
    relay()
    key = row_of(somebody, DISPATCHED).pk
    asked = ask(somebody, DISPATCHED, "replay", [key])
    barrier = Barrier(4)

    def click(_):
        client = Client()
        client.cookies = somebody.cookies
        barrier.wait()
        try:
            return confirm(client, asked).status_code
        finally:
            for one in sql.all(initialized_only=True):
                BaseDatabaseWrapper.close(one)  # its own closes no database in memory

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(click, range(4))) == [200] * 4
    assert sum(map(len, published.streams.values())) == 1
    assert logged() == [("ann", key, "Replay.")]


# -- When something is missing --


def test_an_action_says_so_when_mongodb_is_away(somebody, failed, monkeypatch):
    [key] = failed("note-1")
    asked = ask(somebody, PENDING, "retry", [key])

    def away(*_, **__):
        raise StoreUnavailable("secret-host:27017: timed out")

    with monkeypatch.context() as patch:
        patch.setattr("outbox.pending_actions.release", away)
        response = confirm(somebody, asked, "the disk is mended")
    assert response.status_code == 503
    assert "may have been done in part. Doing it again does the rest." in text_of(response)
    assert "secret-host" not in response.content.decode()
    assert logged() == [("ann", key, "Retry now: broken off. the disk is mended")]
    # The same click again is no second one.
    assert told(confirm(somebody, asked)) == ["1 pending message will be tried again at once."]


def test_the_log_names_nobody_who_is_not_logged_in(db):
    from django.contrib.auth.models import AnonymousUser

    admin_log.record(AnonymousUser(), "Retry now", PendingMessage, ["a"], "")
    assert logged() == []


def test_the_log_calls_messages_by_their_names_wherever_they_are_now(somebody, write, relay, mongo):
    for number in range(3):
        write(f"note-{number}")
    keys = [one.key for one in pending.messages(Selection(topic="notes")).messages]
    ann = User.objects.get(username="ann")
    mongo.notes.update_one({"_id": "note-0"}, {"$set": {"outbox.pending": []}})  # is nowhere
    relay()
    write("note-3")
    keys += [one.key for one in pending.messages(Selection(topic="notes")).messages]
    admin_log.record(ann, "Retry now", PendingMessage, keys, "")
    gone, *others = [one.object_repr for one in LogEntry.objects.order_by("pk")]
    assert gone == keys[0]
    assert others == [f"NotePublished …{key.partition('/')[0][-12:]}" for key in keys[1:]]
    assert f">{others[0]}</a>" in somebody.get(PENDING + "log/").content.decode()


def test_names_for_the_log_cost_one_request_for_all_and_none_is_needed(
    somebody, write, commands, monkeypatch
):
    for number in range(5):
        write(f"note-{number}")
    keys = [one.key for one in pending.messages(Selection(topic="notes")).messages]
    commands.clear()
    admin_log.record(User.objects.get(username="ann"), "Retry now", PendingMessage, keys, "")
    assert len(commands.events) == 1

    def away(*_):
        raise StoreUnavailable("secret-host:27017: timed out")

    monkeypatch.setattr(pending, "named", away)
    admin_log.record(User.objects.get(username="ann"), "Retry now", PendingMessage, keys, "")
    assert [one.object_repr for one in LogEntry.objects.order_by("pk")][5:] == keys
