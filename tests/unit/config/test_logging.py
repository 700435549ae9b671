"""How the reference project logs, by its environment."""

import json
import os
import subprocess
import sys

SCRIPT = """
import logging, django
django.setup()
life = logging.getLogger("outbox.life")
life.debug("a message", extra={"action": "handled", "event_id": "e1", "seconds": 0.5})
life.info("a batch", extra={"action": "handled", "topics": {"orders": 2}})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("orders").exception("Zwölf\\nLines")
"""


def logged(**environment):
    known = {"DJANGO_SETTINGS_MODULE": "config.settings", "DJANGO_DEBUG": "1"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | known | environment,
        capture_output=True,
        text=True,
    )
    return result.stderr


def test_the_life_log_tells_of_batches_unless_more_or_less_is_asked_for():
    for level, messages, batches in (("", 0, 1), ("debug", 1, 1), ("WARNING", 0, 0)):
        text = logged(**{"DJANGO_LIFE_LOG": level} if level else {})
        assert text.count("DEBUG outbox.life: a message") == messages
        assert text.count("INFO outbox.life: a batch") == batches


def test_in_json_every_line_is_an_object_with_all_of_its_fields():
    text = logged(DJANGO_LOG_FORMAT="json", DJANGO_LIFE_LOG="DEBUG")
    message, batch, failure = map(json.loads, text.splitlines())

    assert message.pop("timestamp").endswith("+00:00")
    assert message == {
        "level": "DEBUG",
        "logger": "outbox.life",
        "message": "a message",
        "action": "handled",
        "event_id": "e1",
        "seconds": 0.5,
    }
    assert batch["topics"] == {"orders": 2}
    assert failure["message"] == "Zwölf\nLines"
    assert failure["exc_info"].endswith("ZeroDivisionError: division by zero")


def test_another_format_is_refused():
    assert "DJANGO_LOG_FORMAT is 'xml', and not text or json." in logged(DJANGO_LOG_FORMAT="xml")
