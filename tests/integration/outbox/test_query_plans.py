"""Every query that the outbox makes follows an index, and sorts nothing that it hasn't limited.

What it asks MongoDB for is listened to, while all that there is to do is done; then the server is
asked how it does each of these commands.
"""

import io
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from outbox import operations, trimming
from outbox.dead_letter_actions import discard
from outbox.document import relaying
from outbox.message_store import Selection
from outbox.rebuild import rebuild
from outbox.relay import Relay
from tests.integration.outbox import admin_pages
from tests.integration.outbox.admin_pages import DISPATCHED, LETTERS, PENDING, WAITING, page_of
from tests.integration.outbox.consuming import Stage, add, event, letters, replay
from tests.integration.outbox.test_embedded_inbox import Death

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis")]

repositories, write, relay = admin_pages.repositories, admin_pages.write, admin_pages.relay
failing_relay = admin_pages.failing_relay

#: What belongs to a session, and not to a plan.
SESSION = ("$", "lsid", "maxTimeMS", "txnNumber", "autocommit", "startTransaction", "readConcern")
SESSION += ("writeConcern", "ordered", "cursor")

#: Has one document for each partition and consumer.
SMALL = ["outbox_leases"]


@pytest.fixture
def plans(mongo, commands):
    """Call it for the commands since the last call: [(command as text, what is wrong with it)]."""

    def wrong():
        asked = {}
        for one in list(commands.events):
            if one.database_name == mongo.name and not is_the_tests_own(one.command):
                for command in explainable(one.command_name, one.command):
                    asked.setdefault(shape(command), command)
        commands.clear()
        found = {text: faults(mongo, command) for text, command in asked.items()}
        return {text: said for text, said in found.items() if said}

    commands.clear()
    return wrong


def is_the_tests_own(command):
    """`letters` and `waiting` look at all there is."""
    return command.get("find", "").startswith("outbox_") and not command.get("filter")


def explainable(name, command):
    plain = {k: v for k, v in command.items() if not k.startswith(SESSION)}
    if name in ("find", "count", "distinct", "findAndModify"):
        yield plain
    elif name == "aggregate":
        yield plain | {"cursor": {}}
    elif name in ("update", "delete"):
        for one in command[f"{name}s"]:
            yield {name: command[name], f"{name}s": [one]}


def shape(value):
    """A command as text, without the values in it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {named(k, v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(sorted({shape(one) for one in value})) + "]"
    return "…"


def named(key, value):
    return value if key in ("find", "aggregate", "update", "delete", "hint") else shape(value)


def faults(mongo, command):
    plan = mongo.command("explain", command)
    [first, *later] = plan.get("stages", [plan])
    names = stages(first.get("$cursor", first))
    steps = command.get("pipeline", [])
    where = command.get("filter") or command.get("query") or (steps and steps[0].get("$match"))
    is_named = "$in" in (where or {}).get("_id", {})
    is_limited = is_named or "limit" in command or any("$limit" in step for step in steps)
    is_small = next(iter(command.values())) in SMALL
    found = []
    if "COLLSCAN" in names and not is_small and (where or "updates" in command or not is_limited):
        found.append("scans")
    if "SORT" in names and not is_named:
        found.append("sorts")
    if any("$sort" in one for one in later) and not is_limited:
        found.append("sorts without a limit")
    return found


def stages(plan):
    """The names of the stages of the plan that was chosen."""
    if isinstance(plan, list):
        return [name for one in plan for name in stages(one)]
    if not isinstance(plan, dict):
        return []
    inner = [v for k, v in plan.items() if k != "rejectedPlans"]
    return ([plan["stage"]] if "stage" in plan else []) + [n for one in inner for n in stages(one)]


def test_a_query_that_scans_or_sorts_is_found(mongo, plans):
    mongo["notes"].insert_many([{"_id": str(number), "text": "x"} for number in range(3)])
    plans_of = {
        "scans": lambda: mongo["notes"].find_one({"text": "x"}),
        "sorts": lambda: list(mongo["notes"].find({"_id": {"$gt": ""}}).sort("text").limit(3)),
    }
    for said, act in plans_of.items():
        act()
        assert list(plans().values()) == [[said]]
    mongo["notes"].update_many({"text": "y"}, {"$set": {"text": "z"}})
    assert list(plans().values()) == [["scans"]]
    list(mongo["notes"].find())
    assert list(plans().values()) == [["scans"]]
    list(mongo["notes"].find().limit(1))
    assert plans() == {}


def test_the_queries_of_commands_and_relays(plans, write, relay, failing_relay, repositories):
    for number in range(5):
        note = write(f"n{number}")
        note.write("again")
        repositories[0].save(note)
    failing_relay()
    operations.retry(Selection(state="failed"), by="ann")
    operations.discard(["n1"], reason="x", by="ann")
    Relay("notes").sweep()
    operations.replay(Selection(topic="notes"), by="ann")
    trimming.trim()
    assert plans() == {}


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_the_queries_of_consumers(redis, plans, settings, kind):
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 0.01
    settings.OUTBOX_MAX_ATTEMPTS = 2
    settings.OUTBOX_GAP_TIMEOUT = 0.1

    def before(event, delivery):
        if event.note_text == "poison":
            raise ValueError
        if event.note_text == "death" and not died:
            died.append(delivery)
            raise Death

    died = []
    stage = Stage(kind, before)
    add(redis, *(event(f"n{number}", one) for one in (1, 2) for number in range(30)))
    add(redis, event("p", 1, "poison"), event("p", 2), event("late", 2), "no event")
    stage.drain()
    add(redis, event("late", 1), event("n1", 2), event("n1", 3))
    consumer = stage.consumer()
    consumer._runner.run = lambda *_, **__: (_ for _ in ()).throw(Death)
    with pytest.raises(Death):
        consumer.drain()
    stage.finish()
    keys = [one["_id"] for one in letters()]
    replay(*keys)
    stage.finish()
    discard(keys, reason="x", by="ann")
    if kind == "projection":
        rebuild(stage.subscriber)
    assert plans() == {}


QUERIES = ("", "?topic=notes", "?type=NotePublished", "?q=n1", "?age=over-day", "?p=1")
PAGES = [
    "/admin/outbox/overview/",
    *(f"{page}{query}" for page in (PENDING, DISPATCHED, LETTERS) for query in (*QUERIES, "log/")),
    *(f"{WAITING}{query}" for query in ("", "?subscriber=titles", "?q=n3", "?p=1")),
    *(f"{PENDING}?state={state}" for state in ("stuck", "failed", "untried")),
    *(f"{LETTERS}?{query}" for query in ("subscriber=titles", "error_type=KeyError", "state=all")),
]
FILTERS = ("", "topic=notes", "type=NotePublished", "search=n1", "since=2026-01-01T00:00:00Z")
LISTS = ("pending", "dispatched", "dead-letters")
API = [
    "overview/",
    *(
        f"{name}/?{query}"
        for name in ("pending", "dispatched", "dead-letters")
        for query in FILTERS
    ),
    *(f"waiting/?{query}" for query in ("", "subscriber=titles", "search=n3")),
    *(f"pending/?state={state}" for state in ("stuck", "failed", "untried")),
    *(f"dead-letters/?{query}" for query in ("subscriber=titles", "error_type=KeyError")),
    *(f"dead-letters/?state={state}" for state in ("replaying", "replayed", "discarded")),
]
COMMANDS = [
    ("outbox_status",),
    ("outbox_retry", "--all", "--dry-run"),
    ("outbox_retry", "--stuck", "--topic", "notes"),
    ("outbox_discard", "--stuck", "--type", "NotePublished", "--reason", "x", "--dry-run"),
    ("outbox_replay", "--aggregate", "n1"),
    ("outbox_replay", "--topic", "notes", "--since", "2h", "--execute"),
    ("outbox_dead_letters", "list", "--subscriber", "titles", "--json"),
    ("outbox_waiting", "--tried"),
    ("outbox_waiting", "--aggregate", "n3", "--json"),
    ("outbox_dead_letters", "replay", "--all", "--error-type", "ValueError"),
]


@pytest.fixture
def _filled(redis, write, relay, failing_relay):
    """Something in each list, that has something in it."""
    write("n1")
    relay()
    write("n2")
    failing_relay()
    write("n3")

    def poison(event, delivery):
        raise ValueError

    add(redis, event("n1", 1), event("n2", 1))
    Stage("projection", poison, max_attempts=1).drain()
    add(redis, event("n3", 1))
    Stage("projection", poison).drain()
    assert len(letters()) == 2


@pytest.fixture
def staff(client):
    client.force_login(User.objects.create_superuser("ann"))
    return client


@pytest.mark.usefixtures("_filled")
def test_the_queries_of_pages_api_commands_and_metrics(staff, plans, mongo):
    details = [
        page_of(
            PENDING,
            f"{relaying.pending(mongo['notes'].find_one({'_id': 'n2'}))[0]['event_id']}/notes/n2",
        ),
        page_of(DISPATCHED, mongo["outbox_dispatched"].find_one()["_id"]),
        page_of(LETTERS, letters()[0]["_id"]),
    ]
    plans()
    wrong = {}
    for page in [*PAGES, *details, "/metrics", "/healthz/ready", "/healthz/outbox"]:
        assert staff.get(page).status_code == 200, page
        wrong[page] = plans()
    for path in API:
        assert staff.get(f"/api/outbox/{path}").status_code == 200, path
        wrong[path] = plans()
    for command in COMMANDS:
        with suppress(SystemExit, CommandError):
            call_command(*command, stdout=io.StringIO(), stderr=io.StringIO())
        # Who asks for all that match has all of it sorted, be it a million.
        wrong[command] = {k: v for k, v in plans().items() if v != ["sorts without a limit"]}
    assert {where: found for where, found in wrong.items() if found} == {}
