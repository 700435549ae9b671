from datetime import timedelta

import pytest
from django.core.management import call_command

from outbox.checks import check_settings


def found(settings, **values):
    for name, value in values.items():
        setattr(settings, f"OUTBOX_{name}", value)
    return [(message.id, message.msg) for message in check_settings()]


@pytest.mark.django_db
def test_the_settings_of_the_project_are_clean():
    assert check_settings() == []
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("PARTITIONS", "8", "OUTBOX_PARTITIONS is '8', which is not a int."),
        ("PARTITIONS", True, "OUTBOX_PARTITIONS is True, which is not a int."),
        ("LEASE", None, "OUTBOX_LEASE is None, which is not a float."),
        ("RETENTION", 7, "OUTBOX_RETENTION is 7, which is not a timedelta or None."),
    ],
)
def test_a_setting_of_the_wrong_type_is_an_error(settings, name, value, text):
    assert found(settings, **{name: value}) == [("outbox.E001", text)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTITIONS", 0),
        ("BATCH", -1),
        ("LEASE", 0.0),
        ("LEASE", float("nan")),
        ("RETENTION", timedelta(0)),
    ],
)
def test_a_setting_that_cannot_work_is_an_error(settings, name, value):
    assert [id for id, _ in found(settings, **{name: value})] == ["outbox.E002"]


@pytest.mark.parametrize("name", ["PUBLISHER", "ENVELOPE", "WAKE"])
def test_a_path_that_cannot_be_imported_is_an_error(settings, name):
    assert [id for id, _ in found(settings, **{name: "no.such.thing"})] == ["outbox.E003"]


def test_a_whole_number_will_do_for_a_number_of_seconds(settings):
    assert found(settings, LEASE=5) == []


def test_an_unknown_setting_is_reported(settings):
    [(id, text)] = found(settings, PARTITION=8)
    assert id == "outbox.W001"
    assert "OUTBOX_PARTITION " in text
