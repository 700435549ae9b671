"""Deployment: with a production's environment Django's own checks have nothing to say."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCTION = {
    "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
    "DJANGO_ALLOWED_HOSTS": "shop.example.com",
    "OUTBOX_MONGODB_URI": "mongomock://",
    "DJANGO_SETTINGS_MODULE": "config.settings",
}
SHOWN = [
    *("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS"),
    *("SECURE_PROXY_SSL_HEADER", "SECURE_HSTS_PRELOAD", "REST_FRAMEWORK"),
]
SHOW = (
    "import json, sys; from django.conf import settings;"
    "print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}))"
)


def run(*command, **environment):
    own = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "OUTBOX_"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=own | PRODUCTION | environment,
        capture_output=True,
        text=True,
    )


def settings_with(**environment):
    ended = run("-c", SHOW, *SHOWN, **environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_deployment_checks_are_clean():
    ended = run("manage.py", "check", "--deploy")

    assert ended.returncode == 0, ended.stderr
    assert "security." not in ended.stdout + ended.stderr


@pytest.mark.parametrize("variable", ["DJANGO_DEBUG", "DJANGO_INSECURE_HTTP"])
def test_the_deployment_checks_would_tell(variable):
    ended = run("manage.py", "check", "--deploy", **{variable: "1"})

    assert "security.W008" in ended.stderr


def test_it_is_tls_only_unless_told_otherwise():
    for given, secure in [("", True), ("0", True), ("1", False)]:
        shown = settings_with(DJANGO_INSECURE_HTTP=given)
        assert [shown[name] for name in SHOWN[:3]] == [secure] * 3
        assert bool(shown["SECURE_HSTS_SECONDS"]) is secure


def test_a_proxys_word_is_taken_only_if_there_is_said_to_be_one():
    assert settings_with()["SECURE_PROXY_SSL_HEADER"] is None
    shown = settings_with(DJANGO_BEHIND_PROXY="1")["SECURE_PROXY_SSL_HEADER"]
    assert shown == ["HTTP_X_FORWARDED_PROTO", "https"]


@pytest.mark.parametrize(("given", "rate"), [("5/s", "5/s"), ("", None), (None, "60/min")])
def test_the_rate_of_writes_comes_from_the_environment(given, rate):
    environment = {} if given is None else {"DJANGO_WRITE_RATE": given}

    framework = settings_with(**environment)["REST_FRAMEWORK"]

    assert framework["DEFAULT_THROTTLE_RATES"] == {"write": rate}
    assert framework["DEFAULT_THROTTLE_CLASSES"] == ["outbox.api.throttling.WriteThrottle"]


@pytest.mark.parametrize("rate", ["60", "60/fortnight"])
def test_a_rate_that_is_none_is_told_at_the_start(rate):
    ended = run("manage.py", "check", DJANGO_WRITE_RATE=rate)

    assert ended.returncode != 0
    assert "DJANGO_WRITE_RATE" in ended.stderr


def test_without_a_secret_key_nothing_starts():
    ended = run("manage.py", "check", DJANGO_SECRET_KEY="")

    assert ended.returncode != 0
    assert "DJANGO_SECRET_KEY" in ended.stderr
