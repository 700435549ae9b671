"""The outbox among django-health-check's checks."""

import json

import pytest
from asgiref.sync import async_to_sync
from django.test import RequestFactory
from health_check.views import HealthCheckView

pytestmark = pytest.mark.usefixtures("mongo", "redis")


def asked():
    view = HealthCheckView.as_view(checks=["outbox.contrib.health_check.Outbox"])
    response = async_to_sync(view)(RequestFactory().get("/health/?format=json"))
    return response.status_code, json.loads(response.content)


def test_it_passes_unless_the_outbox_is_bad_and_names_the_problems(mongo, settings):
    settings.OUTBOX_STATISTICS = False  # nobody is expected to be seen
    assert asked() == (200, {"Outbox()": "OK"})
    mongo["outbox_dead_letters"].insert_one({"subscriber": "letters", "state": "dead"})
    assert asked() == (200, {"Outbox()": "OK"})
    settings.OUTBOX_THRESHOLDS = {"dead_letters": (1, 1)}
    assert asked() == (500, {"Outbox()": "Unavailable: dead_letters"})


def test_a_store_that_is_away_fails_it_without_a_word_of_where_it_is(settings):
    settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_TIMEOUT = "mongodb://127.0.0.1:1/", 0.5
    assert asked() == (500, {"Outbox()": "Unavailable: store"})
