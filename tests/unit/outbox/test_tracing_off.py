"""Tracing that isn't switched on: nothing is done for it, and traceparents go through."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from django.http import HttpResponse

from outbox import Command, MessageBus, context, tracing
from outbox.middleware import MessageContextMiddleware

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Ring(Command, name="Ring"):
    pass


class Untouchable(list):
    def __iter__(self):
        raise AssertionError("looked at")


@pytest.fixture(params=["no provider", "not installed"])
def _off(request, monkeypatch):
    if request.param == "not installed":
        monkeypatch.setattr(tracing, "trace", None)
    assert not tracing.is_on()


@pytest.mark.usefixtures("_off")
def test_the_trace_of_a_request_goes_through_to_what_its_commands_record(rf):
    seen = []
    bus = MessageBus({Ring: lambda command: seen.append(context.current().traceparent)})

    def view(request):
        bus.handle(Ring())
        return HttpResponse()

    MessageContextMiddleware(view)(rf.get("/", headers={"traceparent": TRACEPARENT}))
    assert seen == [TRACEPARENT]


@pytest.mark.usefixtures("_off")
def test_no_message_of_a_batch_is_looked_at():
    now = datetime.now(UTC)
    tracing._published("notes", messages=Untouchable(), began=now, at=now)


def test_opentelemetry_need_not_be_installed():
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import django; django.setup()\n"
        "from outbox import tracing; sys.exit(tracing.is_on())"
    )
    given = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": "."}
    run = [sys.executable, "-c", script]
    result = subprocess.run(run, env=given, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
