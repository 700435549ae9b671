"""The operators' API: what they see over HTTP, what they do, and who may do what."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from outbox import dead_letters, deferred, delivery, dispatched, operations, pending
from outbox.api import repeats
from outbox.document import relaying
from outbox.errors import BrokerUnavailable, MissingIndex, PublishError
from outbox.message_store import Selection
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests.integration.orders.client import OrdersClient, as_staff, assert_problem
from tests.integration.orders.test_endpoints import contents
from tests.integration.orders.test_nasty_input import TEXTS, VALUES
from tests.integration.outbox.consuming import event

pytestmark = pytest.mark.django_db

API = "/api/outbox/"

#: Each operation, the permission it needs, and whether it wants to know why.
OPERATIONS = {
    "pending/retry/": ("retry_pendingmessage", False),
    "pending/discard/": ("discard_pendingmessage", True),
    "dispatched/replay/": ("replay_dispatchedmessage", False),
    "dead-letters/replay/": ("replay_deadletter", False),
    "dead-letters/discard/": ("discard_deadletter", True),
}
LISTS = ["pending/", "dispatched/", "dead-letters/"]
SUBSCRIBER = "customer-orders"


def user_with(*permissions, **fields):
    user = User.objects.create_user(**{"username": "kim", "is_staff": True} | fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def client_of(user):
    client = OrdersClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def kim(mongo):
    """The client of an operator who may do everything."""
    return client_of(user_with(*(needed for needed, _ in OPERATIONS.values())))


@pytest.fixture
def publisher(monkeypatch):
    """What a replay publishes to."""
    made = InMemoryPublisher()
    monkeypatch.setattr("outbox.publishers.configured", lambda: made)
    return made


def place(many=1):
    """Orders, each with two pending messages; their ids."""
    staff = as_staff(99)
    return [staff.placed() for _ in range(many)]


def dispatch():
    Relay("orders", publisher=InMemoryPublisher()).sweep()


def die(many=1, *, at="2026-11-21T10:00:00.123Z"):
    """Dead letters; their ids."""
    ids = []
    for number in range(many):
        told = delivery.read(json.dumps(event(f"o{number}", 1, timestamp=at)), "orders")
        dead_letters.store(SUBSCRIBER, "orders", told, ValueError("no such thing"), attempts=3)
        ids.append(f"{SUBSCRIBER}:{told.event_id}")
    return ids


def refuse(mongo, attempts):
    """Have all pending messages failed so often, and due again in an hour."""
    later = datetime.now(UTC) + timedelta(hours=1)
    failed = {"attempts": attempts, "last_error": "OOM: no", "due_at": later}
    for number in range(2):
        mongo["orders"].update_many(
            {}, {"$set": {f"outbox.pending.{number}.{k}": v for k, v in failed.items()}}
        )


def stage():
    """Two of each kind, and for each operation the ids of what it could be done to."""
    place(1)
    dispatch()
    place(1)
    waiting = [one.key for one in pending.messages(Selection()).messages]
    published = [one.event_id for one in dispatched.messages(Selection()).messages]
    letters = die(2)
    return {
        "pending/retry/": waiting,
        "pending/discard/": waiting,
        "dispatched/replay/": published,
        "dead-letters/replay/": letters,
        "dead-letters/discard/": letters,
    }


def body_for(path, **more):
    return ({"reason": "nobody wants it"} if OPERATIONS[path][1] else {}) | more


def listed(client, path, **query):
    response = client.get(f"{API}{path}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    return response.json()


def logged():
    return [(one.user.username, str(one.change_message)) for one in LogEntry.objects.all()]


# -- Looking --


def test_the_overview_says_how_it_is_and_what_is_wrong(kim, mongo, redis, settings):
    settings.OUTBOX_THRESHOLDS = {"stuck": (1, 1)}
    place(2)
    die(1)
    mongo["orders"].update_one({}, {"$set": {"outbox.pending.0.attempts": 50}})

    response = kim.get(f"{API}overview/")

    assert response.status_code == 200
    found = response.json()
    assert (found["pending"]["messages"], found["stuck"], found["dead_letters"]) == (4, 1, 1)
    assert {"stuck", "dead_letters"} <= {one["code"] for one in found["problems"]}
    assert found["level"] == "bad"
    assert found["broker_error"] == ""
    assert SUBSCRIBER in [one["name"] for one in found["subscribers"]]
    assert "orders" in [one["name"] for one in found["topics"]]


def test_the_overview_tells_of_a_broker_that_is_away_and_not_where_it_is(kim, settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    response = kim.get(f"{API}overview/")
    found = response.json()

    assert found["broker_error"]
    assert "broker" in [one["code"] for one in found["problems"]]
    assert "127.0.0.1" not in response.content.decode()


def test_pending_messages_are_listed_and_shown_in_full(kim, mongo):
    (order_id,) = place(1)
    refuse(mongo, 50)

    first, second = listed(kim, "pending/")["results"]
    by_id, by_event = [
        kim.get(f"{API}pending/{quote(name)}/").json() for name in (first["id"], first["event_id"])
    ]

    assert (first["aggregate_id"], first["state"], first["attempts"]) == (order_id, "stuck", 50)
    assert {first["topic"], second["topic"]} == {"orders", "orders-internal"}
    assert "payload" not in first
    assert by_id == by_event
    assert by_id.items() >= first.items()
    assert by_id["payload"]["orderId"] == order_id
    assert by_id["metadata"].keys() >= {"correlationId", "causationId"}
    assert by_id["last_error"] == "OOM: no"


def test_dispatched_messages_are_listed_and_shown_in_full(kim):
    (order_id,) = place(1)
    dispatch()

    found = listed(kim, "dispatched/")["results"]
    shown = kim.get(f"{API}dispatched/{found[0]['id']}/").json()

    assert [one["aggregate_id"] for one in found] == [order_id] * 2
    assert shown.items() >= found[0].items()
    assert shown["payload"]["orderId"] == order_id
    assert listed(kim, "pending/")["results"] == []


def test_dead_letters_are_listed_and_shown_in_full(kim):
    (letter_id,) = die(1)

    (found,) = listed(kim, "dead-letters/")["results"]
    shown = kim.get(f"{API}dead-letters/{quote(letter_id)}/").json()

    assert (found["id"], found["subscriber"], found["state"]) == (letter_id, SUBSCRIBER, "dead")
    assert (found["error_type"], found["attempts"]) == ("ValueError", 3)
    assert shown.items() >= found.items()
    assert "ValueError: no such thing" in shown["traceback"]
    assert shown["payload"] == {"noteText": "hello"}
    assert json.loads(shown["text"])["aggregateId"] == "o0"


def put_aside(many=1, **fields):
    """Events that wait for their subscriber; their ids."""
    found = [delivery.read(json.dumps(event(f"o{number}", 1)), "orders") for number in range(many)]
    due_at = datetime.now(UTC) + timedelta(hours=1)
    for one in found:
        deferred.put(SUBSCRIBER, "orders", [one], due_at=due_at, **fields)
    return [f"{SUBSCRIBER}:orders:{one.aggregate_id}:1" for one in found]


def test_waiting_events_are_listed_with_what_they_failed_of(kim, mongo):
    (key,) = put_aside(attempts=4, last_error="ValueError: no such thing")

    (found,) = listed(kim, "waiting/")["results"]

    assert (found["id"], found["subscriber"], found["state"]) == (key, SUBSCRIBER, "tried")
    assert (found["type"], found["aggregate_id"], found["sequence"]) == ("NotePublished", "o0", 1)
    assert (found["attempts"], found["last_error"]) == (4, "ValueError: no such thing")
    assert (found["died_in"], found["replays"]) == (None, "")
    assert found["due_at"] > found["waits_since"]
    assert "text" not in found

    change = {"$set": {"error_before": ""}, "$unset": {"last_error": ""}}
    mongo["outbox_deferred"].update_one({}, change)
    (found,) = listed(kim, "waiting/")["results"]
    assert (found["attempts"], found["died_in"], found["last_error"]) == (4, 3, "")


def test_the_overview_names_who_fails_and_not_with_what_words(kim):
    put_aside(attempts=4, last_error="ValueError: no such thing")

    response = kim.get(f"{API}overview/")

    (found,) = response.json()["failing"]
    assert (found["subscriber"], found["events"], found["attempts"]) == (SUBSCRIBER, 1, 4)
    (problem,) = [one for one in response.json()["problems"] if one["code"] == "failing"]
    assert problem["text"].startswith(f"{SUBSCRIBER} has failed 4 times on NotePublished ")
    assert "no such thing" not in response.content.decode()


def test_waiting_events_are_filtered_and_there_is_nothing_else_to_ask(kim):
    ids = put_aside(2)
    put = listed(kim, "waiting/")["results"][1]

    def found(**query):
        return [one["id"] for one in listed(kim, "waiting/", **query)["results"]]

    assert found() == found(subscriber=SUBSCRIBER, state="untried", topic="orders") == ids
    assert found(search="o1") == found(search=put["event_id"]) == ids[1:]
    assert found(state="tried") == found(subscriber="x") == found(search="c-1") == []
    assert found(since="2100-01-01T00:00:00Z") == found(until="2001-01-01T00:00:00Z") == []
    for query in MEANINGLESS:
        problem = assert_problem(kim.get(f"{API}waiting/?{query}"), 400)
        assert [error["parameter"] for error in problem["errors"]] == [query.partition("=")[0]]
    for name in ("x", quote(ids[0])):
        assert_problem(kim.get(f"{API}waiting/{name}/"), 404)
    assert kim.send(f"{API}waiting/", {}).status_code == 405


def test_a_cursor_walks_past_all_that_waits_once(kim):
    ids = put_aside(26)
    found, cursor = [], ""
    while cursor is not None:
        page = listed(kim, "waiting/", limit=4, cursor=cursor)
        found += [one["id"] for one in page["results"]]
        cursor = page["next"]
    assert found == ids


def test_what_waits_is_for_staff_and_can_be_opened(mongo, settings):
    customer = client_of(user_with(username="ann", is_staff=False))
    assert_problem(customer.get(f"{API}waiting/"), 403)
    assert_problem(OrdersClient().get(f"{API}waiting/"), 401)
    settings.ANONYMOUS_ACCESS = ["outbox-waiting-list"]
    assert OrdersClient().get(f"{API}waiting/").status_code == 200


def test_what_could_not_be_read_is_shown_as_it_lay_on_the_stream(kim):
    dead_letters.store_unreadable(SUBSCRIBER, "a/b", "orders", "1-1", "{no", ValueError("no"))

    (found,) = listed(kim, "dead-letters/")["results"]
    shown = kim.get(f"{API}dead-letters/{quote(found['id'])}/").json()

    assert (shown["id"], shown["text"]) == (f"{SUBSCRIBER}:a/b:1-1", "{no")
    assert (shown["type"], shown["aggregate_id"], shown["sequence"]) == ("", "", None)


@pytest.mark.parametrize(
    "text", ["{", '"\\ud800"', "[" * 100_000, "1e999", "NaN", "1" * 5000], ids=lambda t: t[:7]
)
def test_a_payload_that_json_can_not_give_on_is_given_as_text(kim, mongo, text):
    place(1)
    mongo["orders"].update_one({}, {"$set": {"outbox.pending.0.payload": text}})

    found = listed(kim, "pending/")["results"][0]

    assert kim.get(f"{API}pending/{quote(found['id'])}/").json()["payload"] == text


STRANGE_PAYLOADS = [
    '"\\ud800"',
    "1e999",
    "NaN",
    *("[" * n + "]" * n for n in (90, 300, 900, 50_000)),
]


@pytest.mark.parametrize("payload", STRANGE_PAYLOADS, ids=lambda text: f"{text[:7]} {len(text)}")
def test_whatever_lay_on_a_stream_is_shown_somehow(kim, payload):
    text = f'{{"payload": {payload}, "metadata": {{"a": {payload}}}}}'
    dead_letters.store_unreadable(SUBSCRIBER, "orders", "orders", "1-1", text, ValueError("no"))

    response = kim.get(f"{API}dead-letters/{SUBSCRIBER}:orders:1-1/")

    assert response.status_code == 200
    assert response.json()["text"] == text


@pytest.mark.parametrize("path", LISTS)
def test_what_is_not_there_is_not_found(kim, path):
    for name in ("x", "x/orders/y", "x/nowhere/y", "x:y", "a" * 3000):
        assert_problem(kim.get(f"{API}{path}{name}/"), 404)


def test_filters_leave_the_others_out(kim, mongo):
    first, second = place(2)
    dispatch()
    third, fourth = place(2)
    mongo["orders"].update_one({"_id": third}, {"$set": {"outbox.pending.0.attempts": 50}})
    die(2)
    shown = [listed(kim, path)["results"][0] for path in LISTS]
    event_ids = [one["event_id"] for one in shown]

    def ids(path, **query):
        return {one["aggregate_id"] for one in listed(kim, path, **query)["results"]}

    assert ids("pending/", search=third) == ids("pending/", state="stuck") == {third}
    assert ids("pending/", topic="orders", type="OrderPlaced") == {third, fourth}
    assert ids("pending/", topic="nowhere") == ids("pending/", type="OrderPlaced%") == set()
    assert ids("pending/", search=event_ids[0]) == {shown[0]["aggregate_id"]}
    assert ids("pending/", since="2100-01-01T00:00:00Z") == set()
    assert ids("dispatched/", search=first) == {first}
    assert ids("dispatched/", search=event_ids[1]) == {shown[1]["aggregate_id"]}
    assert ids("dispatched/", until="2100-01-01T01:00:00+01:00") == {first, second}
    assert ids("dispatched/", until="2001-01-01T00:00:00Z") == set()
    assert ids("dead-letters/", subscriber=SUBSCRIBER, error_type="ValueError") == {"o0", "o1"}
    assert ids("dead-letters/", error_type="KeyError") == set()
    assert ids("dead-letters/", state="replayed") == ids("dead-letters/", subscriber="x") == set()
    assert ids("dead-letters/", search="o1") == {"o1"}


def test_a_filter_that_is_empty_counts_as_not_given(kim):
    place(1)

    query = dict.fromkeys(["search", "topic", "type", "state", "since", "until", "cursor"], "")
    assert len(listed(kim, "pending/", **query, limit="")["results"]) == 2


MEANINGLESS = [
    "limit=0",
    "limit=201",
    "limit=-1",
    "limit=1e2",
    "limit=99999999999999999999",
    "since=yesterday",
    "since=2026-11-21T10:00:00",
    "since=0001-01-01T00:00:00%2B05:00",
    "since=9999-12-31T23:59:59-05:00",
    "until=2026-13-01T00:00:00Z",
    "until=2026-11-21T10:00:00%2B99:99",
    "state=odd",
    "cursor=x",
    "cursor=bnVsbA",
    f"search={'x' * 2001}",
    "skip=1",
    "payload[$ne]=1",
]


@pytest.mark.parametrize("path", LISTS)
def test_a_query_that_means_nothing_is_refused(kim, path):
    for query in MEANINGLESS:
        problem = assert_problem(kim.get(f"{API}{path}?{query}"), 400)
        assert [error["parameter"] for error in problem["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_walks_past_everything_once(kim, path):
    place(13)
    if path == "dispatched/":
        dispatch()
    die(26)

    found, cursor, pages = [], "", 0
    while cursor is not None and pages < 10:
        page = listed(kim, path, limit=4, cursor=cursor)
        found += [one["id"] for one in page["results"]]
        cursor, pages = page["next"], pages + 1

    assert (len(found), len(set(found)), pages) == (26, 26, 7)
    assert found == [one["id"] for one in listed(kim, path)["results"]]


# -- Who may do what --


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("more", [{}, {"dry_run": True}])
def test_an_operation_is_refused_without_its_permission_and_does_nothing(
    mongo, path, more, publisher, settings
):
    """Whatever else somebody may do, and whatever is opened to anyone."""
    settings.ANONYMOUS_ACCESS = [
        f"outbox-{name}"
        for name in (
            *("pending-retry", "pending-discard", "dispatched-replay"),
            *("dead-letter-replay", "dead-letter-discard"),
        )
    ]
    ids, needed = stage(), OPERATIONS[path][0]
    others = [one for one, _ in OPERATIONS.values() if one != needed]
    everything = [one for one, _ in OPERATIONS.values()]
    refused = {
        "nobody": (OrdersClient(), 401),
        "staff with all other permissions": (client_of(user_with(*others, username="a")), 403),
        "no staff": (client_of(user_with(*everything, username="b", is_staff=False)), 403),
        "a superuser who is no staff": (
            client_of(user_with(username="c", is_staff=False, is_superuser=True)),
            403,
        ),
    }
    before = contents(mongo)
    for who, (client, status) in refused.items():
        for what in ({"ids": ids[path]}, {"all": True}, {}):
            response = client.send(f"{API}{path}", body_for(path, **what, **more))
            assert_problem(response, status), who
    assert contents(mongo) == before
    assert publisher.streams == {}
    assert logged() == []


@pytest.mark.parametrize("path", OPERATIONS)
def test_its_permission_alone_is_enough(mongo, path, publisher):
    ids, client = stage(), client_of(user_with(OPERATIONS[path][0]))

    response = client.send(f"{API}{path}", body_for(path, ids=ids[path]))

    assert response.status_code == 200, response.content
    assert response.json()["count"] == 2


def test_reading_is_for_staff_and_can_be_opened(mongo, settings):
    customer = client_of(user_with(username="ann", is_staff=False))
    for path in ["overview/", *LISTS, *(f"{path}x/" for path in LISTS)]:
        assert_problem(customer.get(f"{API}{path}"), 403)
        assert_problem(OrdersClient().get(f"{API}{path}"), 401)
    settings.ANONYMOUS_ACCESS = ["outbox-pending-list"]
    assert OrdersClient().get(f"{API}pending/").status_code == 200
    assert_problem(OrdersClient().get(f"{API}dispatched/"), 401)


# -- Doing --


def test_a_retry_has_messages_tried_at_once(kim, mongo):
    place(1)
    refuse(mongo, 50)
    ids = [one["id"] for one in listed(kim, "pending/")["results"]]

    answer = kim.send(f"{API}pending/retry/", {"ids": ids}).json()

    assert (answer["count"], answer["missed"], answer["left"]) == (2, 0, False)
    assert len(answer["ids"]) == 2
    assert listed(kim, "pending/", state="failed")["results"] == []
    assert Relay("orders", publisher=InMemoryPublisher()).sweep() == 2


def test_an_event_id_alone_names_a_pending_message(kim, mongo):
    place(1)
    refuse(mongo, 50)
    event_id = listed(kim, "pending/")["results"][0]["event_id"]

    assert kim.send(f"{API}pending/retry/", {"ids": [event_id]}).json()["count"] == 1


def test_a_discard_leaves_a_tombstone_and_keeps_who_and_why(kim, mongo):
    place(1)
    one = listed(kim, "pending/", topic="orders")["results"][0]

    answer = kim.send(f"{API}pending/discard/", {"ids": [one["id"]], "reason": "a test"}).json()

    assert answer["count"] == 1
    assert relaying.is_tombstone(mongo["orders"].find_one()["outbox"]["pending"][0])
    kept = mongo["outbox_discarded"].find_one()
    assert (kept["_id"], kept["discarded_by"], kept["reason"]) == (
        one["event_id"],
        "kim",
        "a test",
    )


def test_a_replay_publishes_messages_again_as_they_were(kim, publisher):
    place(2)
    dispatch()
    one = listed(kim, "dispatched/", topic="orders")["results"][0]

    answer = kim.send(f"{API}dispatched/replay/", {"ids": [one["id"], "x"]}).json()

    assert (answer["count"], answer["missed"]) == (1, 1)
    (text,) = publisher.streams["orders"]
    assert json.loads(text)["eventId"] == one["event_id"]


def test_a_dead_letter_is_given_to_its_subscriber_again(kim, mongo):
    letters = die(2)

    answer = kim.send(f"{API}dead-letters/replay/", {"ids": letters[:1]}).json()

    assert answer["count"] == 1
    (found,) = listed(kim, "dead-letters/", state="replaying")["results"]
    assert (found["id"], found["closed_by"]) == (letters[0], "kim")
    assert mongo["outbox_deferred"].count_documents({}) == 1


def test_a_dead_letter_that_is_discarded_says_who_did_it_and_why(kim):
    letters = die(2)

    kim.send(f"{API}dead-letters/discard/", {"ids": letters[1:], "reason": "a test"})

    (found,) = listed(kim, "dead-letters/", state="discarded")["results"]
    assert (found["id"], found["closed_by"], found["reason"]) == (letters[1], "kim", "a test")


@pytest.mark.parametrize("path", OPERATIONS)
def test_all_that_match_are_acted_on_and_no_others(kim, path, publisher):
    ids = stage()[path]

    none = kim.send(f"{API}{path}", body_for(path, all=True, topic="nowhere")).json()
    some = kim.send(f"{API}{path}", body_for(path, all=True, search="o1")).json()
    done = kim.send(f"{API}{path}", body_for(path, all=True)).json()

    assert (none["count"], none["left"], none["ids"]) == (0, False, [])
    assert some["count"] == (1 if path.startswith("dead") else 0)
    assert some["count"] + done["count"] == 2
    assert len(ids) == 2


@pytest.mark.parametrize("path", OPERATIONS)
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(kim, mongo, path, publisher):
    ids = stage()[path]
    before = contents(mongo)

    named = body_for(path, ids=[*ids, "x/orders/y"], dry_run=True)
    for _ in range(2):
        answer = kim.send(f"{API}{path}", named, Idempotency_Key="k").json()
        assert answer.pop("dry_run") is True
        assert answer == {"count": 2, "missed": 1, "left": False, "ids": [], "why": {}}
    for query, count in ({}, 2), ({"topic": "nowhere"}, 0):
        response = kim.send(f"{API}{path}", body_for(path, all=True, dry_run=True, **query))
        assert (response.json()["count"], response.json()["missed"]) == (count, 0)

    assert contents(mongo) == before
    assert publisher.streams == {}
    assert logged() == []


def test_more_than_can_be_done_at_a_time_is_left_and_said_to_be(kim, monkeypatch, publisher):
    monkeypatch.setattr(operations, "MOST", 3)
    place(4)

    dry = kim.send(f"{API}pending/retry/", {"all": True, "dry_run": True}).json()
    done = kim.send(f"{API}pending/retry/", {"all": True}).json()

    assert dry["left"] is done["left"] is True
    assert done["count"] == len(done["ids"])


@pytest.mark.parametrize("path", OPERATIONS)
def test_an_operation_is_in_the_admins_log_with_who_what_and_why(kim, path, publisher):
    ids = stage()[path]

    kim.send(f"{API}{path}", body_for(path, ids=ids[:1]))
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == ids[0]
    kim.send(f"{API}{path}", body_for(path, all=True, type="NotThere"))
    assert LogEntry.objects.count() == 1, "nothing was done"
    kim.send(f"{API}{path}", body_for(path, all=True))

    assert entry.content_type.model == OPERATIONS[path][0].partition("_")[2]
    both = logged()
    assert len(both) == 2
    for who, what in both:
        assert who == "kim"
        assert ("nobody wants it" in what) == OPERATIONS[path][1]


# -- Sent twice --


@pytest.mark.parametrize("path", OPERATIONS)
def test_the_same_key_has_one_effect_and_gets_the_same_answer(kim, mongo, path, publisher):
    body = body_for(path, ids=stage()[path])

    first = kim.send(f"{API}{path}", body, Idempotency_Key="k")
    before, published = contents(mongo), str(publisher.streams)
    second = kim.send(f"{API}{path}", body, Idempotency_Key="k")

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert first.json()["count"] == 2
    assert (contents(mongo), str(publisher.streams)) == (before, published)
    assert len(logged()) == 2, "one for each message"


def test_a_key_with_another_body_is_refused(kim, mongo):
    ids = stage()["pending/retry/"]
    kim.send(f"{API}pending/retry/", {"ids": ids}, Idempotency_Key="k")
    before = contents(mongo)

    for body in ({"ids": ids[:1]}, {"all": True}):
        response = kim.send(f"{API}pending/retry/", body, Idempotency_Key="k")
        problem = assert_problem(response, 422)
        assert problem["type"] == "urn:problem-type:message-id-reused"
    assert contents(mongo) == before


def test_a_key_belongs_to_its_user_and_its_path(kim, publisher):
    ids = stage()
    lee = client_of(user_with("replay_deadletter", username="lee"))
    letters = ids["dead-letters/replay/"]

    for client, path, chosen in (
        (kim, "dead-letters/replay/", letters[:1]),
        (lee, "dead-letters/replay/", letters[1:]),
        (kim, "dead-letters/discard/", letters),
        (kim, "dispatched/replay/", ids["dispatched/replay/"]),
    ):
        response = client.send(f"{API}{path}", body_for(path, ids=chosen), Idempotency_Key="k")
        assert response.json()["count"] == len(chosen), path


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "é"])
@pytest.mark.parametrize("more", [{}, {"dry_run": True}])
def test_a_malformed_key_is_refused(kim, mongo, key, more):
    body = {"ids": stage()["pending/retry/"]} | more
    before = contents(mongo)

    assert_problem(kim.send(f"{API}pending/retry/", body, Idempotency_Key=key), 400)
    assert contents(mongo) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", OPERATIONS)
def test_repeats_that_come_at_once_have_one_effect(mongo, path, monkeypatch, publisher):
    ids, user = stage()[path][:1], user_with(OPERATIONS[path][0])
    entries = []
    # A database in memory is its thread's own.
    monkeypatch.setattr(
        User, "has_perm", lambda self, name: name == f"outbox.{OPERATIONS[path][0]}"
    )
    monkeypatch.setattr("outbox.admin_log.record", lambda *args: entries.append(args))

    def send(_):
        try:
            return client_of(user).send(
                f"{API}{path}", body_for(path, ids=ids), Idempotency_Key="k"
            )
        finally:
            BaseDatabaseWrapper.close(connection)  # its own closes no database in memory

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))

    assert {one.status_code for one in answers} == {200}, [one.content for one in answers]
    assert len({one.content for one in answers}) == 1
    assert answers[0].json()["count"] == 1
    assert len(entries) == 1
    if path == "dispatched/replay/":
        assert sum(map(len, publisher.streams.values())) == 1


def test_a_repeat_of_what_does_not_come_to_its_end_is_told_so(kim, mongo, monkeypatch):
    """The process of the first one died in the middle of it."""
    ids = stage()["pending/retry/"]
    monkeypatch.setattr(repeats, "PATIENCE", 0.1)
    kim.send(f"{API}pending/retry/", {"ids": ids}, Idempotency_Key="k")
    mongo["outbox_operations"].update_many({}, {"$unset": {"done": ""}})

    response = kim.send(f"{API}pending/retry/", {"ids": ids}, Idempotency_Key="k")

    assert "Idempotency-Key" in assert_problem(response, 409)["detail"]


def test_an_operation_that_failed_may_be_sent_again_under_its_key(kim, publisher, monkeypatch):
    ids = stage()["dispatched/replay/"]
    body, path = {"ids": ids}, f"{API}dispatched/replay/"
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "publish", away)
        assert_problem(kim.send(path, body, Idempotency_Key="k"), 503)

    assert kim.send(path, body, Idempotency_Key="k").json()["count"] == 2
    assert len(logged()) == 2


# -- What is wrong --


def away(*args):
    raise BrokerUnavailable("redis.internal:6379 is away")


REFUSED = [
    ({}, ["#"]),
    ({"dry_run": True}, ["#"]),
    ({"ids": ["a"], "all": True}, ["#/all"]),
    ({"ids": ["a"], "topic": "orders"}, ["#/topic"]),
    ({"all": False}, ["#/all"]),
    ({"all": "true"}, ["#/all"]),
    ({"all": 1}, ["#/all"]),
    ({"ids": []}, ["#/ids"]),
    ({"ids": [""]}, ["#/ids/0"]),
    ({"ids": ["a", 1, None]}, ["#/ids/1", "#/ids/2"]),
    ({"ids": "a"}, ["#/ids"]),
    ({"ids": None}, ["#/ids"]),
    ({"ids": ["a"] * 5001}, ["#/ids"]),
    ({"ids": ["a" * 2001]}, ["#/ids/0"]),
    ({"ids": ["a"], "dry_run": "yes"}, ["#/dry_run"]),
    ({"ids": ["a"], "limit": 1}, ["#/limit"]),
    ({"all": True, "search": ""}, ["#/search"]),
    ({"all": True, "topic": {"$ne": None}}, ["#/topic"]),
    ({"all": True, "since": 0}, ["#/since"]),
    ({"all": True, "since": "2026-11-21"}, ["#/since"]),
    ({"all": True, "serach": "x"}, ["#/serach"]),
]


@pytest.mark.parametrize("path", OPERATIONS)
def test_a_body_that_does_not_say_which_is_refused(kim, mongo, path):
    stage()
    before = contents(mongo)
    for body, pointers in REFUSED:
        problem = assert_problem(kim.send(f"{API}{path}", body_for(path, **body)), 400)
        assert [error["pointer"] for error in problem["errors"]] == pointers, body
    assert contents(mongo) == before


@pytest.mark.parametrize("path", [path for path in OPERATIONS if OPERATIONS[path][1]])
@pytest.mark.parametrize("reason", [None, "", "  ", "a\nb", "\x00", "x" * 501, 1])
def test_a_discard_needs_a_reason(kim, mongo, path, reason):
    ids = stage()[path]
    before = contents(mongo)
    body = {"ids": ids} | ({} if reason is None else {"reason": reason})

    problem = assert_problem(kim.send(f"{API}{path}", body), 400)

    assert [error["pointer"] for error in problem["errors"]] == ["#/reason"]
    assert contents(mongo) == before


def test_a_reason_is_not_for_what_needs_none(kim):
    assert_problem(kim.send(f"{API}pending/retry/", {"ids": ["a"], "reason": "x"}), 400)


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"ids": ["\\ud800"]}', b"[" * 9999])
def test_what_is_no_object_is_refused(kim, path, body):
    assert_problem(kim.send(f"{API}{path}", body), 400)


def test_a_body_in_chunks_is_refused(kim):
    for path in OPERATIONS:
        assert_problem(kim.send(f"{API}{path}", {}, Transfer_Encoding="chunked"), 411)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_strange_texts_find_nothing_and_break_nothing(kim, mongo, publisher, text):
    stage()
    before = contents(mongo)
    value = quote(text, safe="")
    for path in LISTS:
        assert kim.get(f"{API}{path}{value}/").status_code in ((200, 404) if not text else (404,))
        for name in ("search", "topic", "type", "subscriber", "error_type"):
            response = kim.get(f"{API}{path}?{name}={value}")
            assert response.status_code in (200, 400), response.content
            if response.status_code == 200 and text:
                assert response.json()["results"] == []
        for name in ("since", "until", "limit", "cursor", f"x{value}"):
            response = kim.get(f"{API}{path}?{name}={value}")
            assert response.status_code == (200 if not text and name[0] != "x" else 400), name
    for path in OPERATIONS:
        for what in ({"ids": [text]}, {"all": True, "search": text}, {"all": True, "topic": text}):
            response = kim.send(f"{API}{path}", body_for(path, **what))
            assert response.status_code in (200, 400), response.content
            if response.status_code == 200:
                assert response.json()["count"] == 0
    after = contents(mongo)
    for name in before.keys() | after.keys() - {"outbox_operations"}:
        assert after[name] == before[name]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(str(value)[:20]))
def test_strange_values_do_nothing(kim, mongo, publisher, value):
    stage()
    before = contents(mongo)
    for path in OPERATIONS:
        for what in (
            {"ids": value},
            {"ids": [value]},
            *({"all": True, name: value} for name in ("search", "topic", "since", "state")),
        ):
            if value is None and "all" in what:
                continue  # as if it weren't there
            response = kim.send(f"{API}{path}", body_for(path, **what))
            assert response.status_code in (200, 400), response.content
            if response.status_code == 200:
                assert response.json()["count"] == 0, what
    after = contents(mongo)
    for name in before.keys() | after.keys() - {"outbox_operations"}:
        assert after[name] == before[name]
    assert publisher.streams == {}


# -- What is away --


PATHS = ["overview/", *LISTS, "waiting/", "pending/x/orders/y/", "pending/x/", "dispatched/x/"]


@pytest.fixture
def store_away(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2


def test_a_store_that_is_away_is_a_503_that_says_when_to_ask_again(kim, store_away):
    responses = [kim.get(f"{API}{path}") for path in [*PATHS, "dead-letters/x/"]]
    for path in OPERATIONS:
        for what in ({"ids": ["x"]}, {"all": True}, {"all": True, "dry_run": True}):
            responses.append(kim.send(f"{API}{path}", body_for(path, **what)))
    for response in responses:
        problem = assert_problem(response, 503)
        assert response.headers["Retry-After"] == "5"
        assert "127.0.0.1" not in json.dumps(problem)
    assert logged() == []


def test_a_broker_that_is_away_is_a_503_that_names_no_host(kim, publisher, monkeypatch):
    ids = stage()["dispatched/replay/"]
    monkeypatch.setattr(publisher, "publish", away)

    response = kim.send(f"{API}dispatched/replay/", {"ids": ids})

    problem = assert_problem(response, 503)
    assert problem["type"] == "urn:problem-type:broker-unavailable"
    assert response.headers["Retry-After"] == "5"
    assert "redis.internal" not in json.dumps(problem)
    assert logged() == []


def test_a_message_that_the_broker_refuses_is_told_of_in_its_words(kim, publisher, monkeypatch):
    ids = stage()["dispatched/replay/"]

    def refuse(*args):
        raise PublishError("OOM command not allowed")

    monkeypatch.setattr(publisher, "publish", refuse)

    problem = assert_problem(kim.send(f"{API}dispatched/replay/", {"ids": ids}), 409)

    assert problem["type"] == "urn:problem-type:publish-error"
    assert "OOM command not allowed" in problem["detail"]


def test_a_missing_index_is_a_503_that_says_what_to_do(kim, monkeypatch):
    def missing(*args, **more):
        raise MissingIndex

    monkeypatch.setattr(pending, "messages", missing)

    problem = assert_problem(kim.get(f"{API}pending/"), 503)

    assert "outbox_indexes" in problem["title"]
