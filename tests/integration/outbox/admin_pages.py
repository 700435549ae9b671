"""Fixtures for the tests of the admin: a small application, and people with permissions."""

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import get_commands, load_command_class

from outbox import discovery
from outbox.admin import filters
from outbox.discovery import Messaging
from outbox.indexes import ensure_indexes
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay
from tests import notes

PENDING = "/admin/outbox/pendingmessage/"
DISPATCHED = "/admin/outbox/dispatchedmessage/"
WAITING = "/admin/outbox/waitingevent/"
LETTERS = "/admin/outbox/deadletter/"

#: The permission to see each of the lists.
VIEW = ("view_pendingmessage", "view_dispatchedmessage", "view_waitingevent", "view_deadletter")


class LetterRepository(notes.NoteRepository):
    collection = "letters"


@pytest.fixture(autouse=True)
def repositories(mongo, monkeypatch):
    """The notes' application in place of the project's, with two collections."""
    filters.forget()
    # A command that is first imported while this is in place would keep it for good.
    for name, app in get_commands().items():
        if app == "outbox":
            load_command_class(app, name)
    found = [notes.repository(), LetterRepository(notes.mapping)]
    ensure_indexes(found)
    table = Messaging(publishes=notes.mapping.routes, repositories=found)
    monkeypatch.setattr(discovery, "messaging", lambda: table)
    return found


@pytest.fixture
def write(repositories):
    """Write a note under an id: one message for `notes`, one for `notes-internal`."""

    def write(id, text="hello", repository=repositories[0]):
        note = notes.Note(id)
        note.write(text)
        repository.add(note)
        return note

    return write


@pytest.fixture
def share(repositories):
    def share(note, *with_whom):
        note.share(*with_whom)
        repositories[0].save(note)

    return share


@pytest.fixture
def relay(mongo):
    """Publish what is due."""
    return Relay("notes", publisher=InMemoryPublisher()).sweep


@pytest.fixture
def failing_relay(mongo, settings):
    """Have the broker refuse what is due."""
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1e6
    publisher = InMemoryPublisher()
    publisher.refused = {"notes"}
    return Relay("notes", publisher=publisher).sweep


def person(name, *permissions):
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def operator(client):
    """A client logged in with nothing but the view permissions."""
    client.force_login(person("operator", *VIEW))
    return client


@pytest.fixture
def listed(operator):
    """The messages that a list page shows, as (type, topic, sequence, aggregate id)."""

    def listed(address, **parameters):
        response = operator.get(address, parameters)
        assert response.status_code == 200
        result = response.context["cl"].result_list
        return [(one.type, one.topic, one.sequence, one.aggregate_id) for one in result]

    return listed


def row_of(client, address, **parameters):
    """The first message that a list page shows."""
    return client.get(address, parameters).context["cl"].result_list[0]


def page_of(address, key):
    return f"{address}{quote(key)}/change/"


def text_of(response):
    """The page's content as one line of text."""
    content = response.content.decode().partition('id="content"')[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", content)))


def ask(client, address, action, keys, *, across=False, **posted):
    """Choose an action for some of a list, or with `across` for all that match."""
    return client.post(
        address,
        {
            "action": action,
            "_selected_action": keys,
            "index": "0",
            "select_across": int(across),
            **posted,
        },
    )


def confirm(client, asked, reason="", **changes):
    """Say yes on the page that `ask` has led to, with what its form holds."""
    fields = {}
    for name, value in re.findall(
        r'<input type="hidden" name="([^"]+)" value="([^"]*)"', asked.content.decode()
    ):
        fields.setdefault(unescape(name), []).append(unescape(value))
    fields.pop("csrfmiddlewaretoken", None)
    address = asked.request["PATH_INFO"]
    if query := asked.request["QUERY_STRING"]:
        address = f"{address}?{query}"
    return client.post(address, {**fields, "reason": reason, **changes}, follow=True)


def told(response):
    """The messages above a page."""
    return [str(one) for one in response.context["messages"]]


def logged():
    """The admin's log, oldest first: (user, object id, what)."""
    found = LogEntry.objects.order_by("pk")
    return [(one.user.username, one.object_id, one.get_change_message()) for one in found]
