from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from outbox.indexes import ensure_indexes


def test_creating_indexes_is_idempotent(mongo):
    first = ensure_indexes(["notes"])
    before = mongo["notes"].index_information()
    assert ensure_indexes(["notes"]) == first
    assert mongo["notes"].index_information() == before
    assert before["outbox_due"]["partialFilterExpression"] == {
        "outbox.pending.due_at": {"$exists": True}
    }


def test_a_changed_retention_changes_the_index(mongo, settings):
    settings.OUTBOX_RETENTION = timedelta(hours=1)
    ensure_indexes([])
    indexes = mongo["outbox_dispatched"].index_information()
    assert indexes["outbox_retention"]["expireAfterSeconds"] == 3600


@pytest.mark.django_db(transaction=True)
def test_migrate_creates_the_indexes_and_flush_does_not(mongo):
    mongo["outbox_dispatched"].drop()
    call_command("flush", interactive=False, verbosity=0)
    assert "outbox_dispatched" not in mongo.list_collection_names()
    call_command("migrate", verbosity=0)
    assert "outbox_retention" in mongo["outbox_dispatched"].index_information()


def test_the_command_creates_and_names_them(mongo):
    mongo["outbox_dispatched"].drop()
    out = StringIO()
    call_command("outbox_indexes", stdout=out)
    assert "outbox_dispatched.outbox_retention" in out.getvalue()


def away(settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?directConnection=true"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2


def test_the_command_says_when_the_store_is_away(settings):
    away(settings)
    with pytest.raises(CommandError, match="MongoDB"):
        call_command("outbox_indexes")


@pytest.mark.django_db(transaction=True)
def test_migrate_goes_on_and_says_what_to_do_when_the_store_is_away(settings, capsys):
    away(settings)
    call_command("migrate", verbosity=0)
    assert "manage.py outbox_indexes" in capsys.readouterr().err
