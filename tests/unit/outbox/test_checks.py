import time
from datetime import timedelta

import pytest
from django.core.management import call_command

from outbox import RECORDED, TRANSACTIONAL, Subscriber
from outbox.checks import check_settings, check_topics, check_transactions
from outbox.discovery import Messaging
from tests import notes
from tests.notes import NoteWritten


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
        ("TOPICS", ["orders"], "OUTBOX_TOPICS is ['orders'], which is not a dict."),
        ("GAP_POLICY", None, "OUTBOX_GAP_POLICY is None, which is not a str."),
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
        ("INBOX_RETENTION", timedelta(0)),
        ("GAP_TIMEOUT", -1),
        ("BREAKER_RESET", 0),
    ],
)
def test_a_setting_that_cannot_work_is_an_error(settings, name, value):
    assert [id for id, _ in found(settings, **{name: value})] == ["outbox.E002"]


def test_a_gap_policy_that_does_not_exist_is_an_error(settings):
    text = "OUTBOX_GAP_POLICY is 'skip', which is not hold or pass."
    assert found(settings, GAP_POLICY="skip") == [("outbox.E002", text)]
    for policy in ("hold", "pass"):
        assert found(settings, GAP_POLICY=policy) == []


@pytest.mark.parametrize(
    ("topics", "reason"),
    [
        ({"Orders": {"partitions": 2}}, "'Orders' can't be a topic"),
        ({1: {"partitions": 2}}, "1 can't be a topic"),
        ({"orders": 4}, 'orders has 4, and not {"partitions": number}'),
        ({"orders": {}}, 'orders has {}, and not {"partitions": number}'),
        (
            {"orders": {"partitions": 2, "retention": 7}},
            "orders has {'partitions': 2, 'retention': 7}, and not {\"partitions\": number}",
        ),
        *(
            (
                {"orders": {"partitions": number}},
                f"orders has {number!r} partitions, and not a number from 1 to 1024",
            )
            for number in (0, 1025, 2.0, True, "4", None)
        ),
    ],
)
def test_topics_that_cannot_be_spread_so_are_an_error(settings, topics, reason):
    fine = {"notes": {"partitions": 2}}
    assert found(settings, TOPICS=fine | topics) == [
        ("outbox.E002", f"OUTBOX_TOPICS can't work: {reason}.")
    ]


def test_topics_may_have_from_1_to_1024_partitions_and_a_gap_no_time(settings):
    topics = {"orders": {"partitions": 1}, "orders-internal": {"partitions": 1024}}
    assert found(settings, TOPICS=topics, GAP_TIMEOUT=0) == []


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        ({"lags": (1, 2)}, "'lags' is not one of pending_age, stuck"),
        ({"lag": 60}, "lag is 60, and not (what is worth a warning, what is bad)"),
        ({"lag": (60,)}, "lag is (60,), and not (what"),
        ({"lag": (60, "600")}, "lag is (60, '600'), and not two numbers above 0"),
        ({"stuck": (0, 1)}, "stuck is (0, 1), and not two numbers above 0"),
        ({"lag": (600, 60)}, "what is bad must not be less than"),
    ],
)
def test_thresholds_that_cannot_work_are_an_error(settings, thresholds, reason):
    [(id, text)] = found(settings, THRESHOLDS=thresholds)
    assert id == "outbox.E002"
    assert reason in text


def test_some_thresholds_may_be_given_and_statistics_turned_off(settings):
    assert found(settings, THRESHOLDS={"lag": [5, 60.5]}, STATISTICS=False) == []


@pytest.mark.parametrize("name", ["PUBLISHER", "ENVELOPE", "WAKE"])
def test_a_path_that_cannot_be_imported_is_an_error(settings, name):
    assert [id for id, _ in found(settings, **{name: "no.such.thing"})] == ["outbox.E003"]


def test_a_whole_number_will_do_for_a_number_of_seconds(settings):
    assert found(settings, LEASE=5) == []


def test_an_unknown_setting_is_reported(settings):
    [(id, text)] = found(settings, PARTITION=8)
    assert id == "outbox.W001"
    assert "OUTBOX_PARTITION " in text


@pytest.fixture
def declare(monkeypatch, settings):
    """Declare these tables; whoever asks the server is found out."""

    def tables(uri, *, given=(), **tables):
        settings.OUTBOX_MONGODB_URI, settings.OUTBOX_MONGODB_TIMEOUT = uri, 60.0
        repository = notes.NoteRepository(notes.mapping, dict.fromkeys(given, print))
        declared = Messaging(**tables, repositories=[repository])
        monkeypatch.setattr("outbox.checks.messaging", lambda: declared)

    return tables


def subscribes(effect):
    one = Subscriber(name="counts", topic="notes", effect=effect, handlers={})
    return {"subscribes": {"counts": one}}


AWAY = "mongodb://127.0.0.1:1/?directConnection=true"
WITHIN = {"given": [NoteWritten], "within": {NoteWritten: "notes.messaging"}}


@pytest.mark.parametrize("tables", [{}, subscribes(RECORDED)])
def test_the_server_is_not_asked_for_transactions_that_nobody_needs(declare, monkeypatch, tables):
    monkeypatch.setattr("outbox.transactions.supported", lambda database: 1 / 0)
    declare(AWAY, **tables)
    assert check_transactions() == []


@pytest.mark.parametrize("tables", [WITHIN, subscribes(TRANSACTIONAL), {"given": [NoteWritten]}])
def test_a_server_that_cannot_be_asked_is_reported_soon(declare, tables):
    declare(AWAY, **tables)
    start = time.monotonic()
    [message] = check_transactions()
    assert message.id == "outbox.W003"
    assert "couldn't be asked" in message.msg
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb+srv://a.b.c.invalid"])
def test_an_address_that_is_none_is_reported_as_well(declare, uri):
    declare(uri, **WITHIN)
    assert [message.id for message in check_transactions()] == ["outbox.W003"]


@pytest.mark.parametrize("tables", [WITHIN, subscribes(TRANSACTIONAL)])
def test_nothing_is_said_of_mongomock(declare, tables):
    declare("mongomock://", **tables)
    assert check_transactions() == []


def test_a_topic_that_nobody_publishes_to_is_told_of(declare):
    rows = {
        topic: Subscriber(name=topic, topic=topic, effect=RECORDED, handlers={})
        for topic in ("nots", "orders")
    }
    declare("mongomock://", subscribes=rows)
    [told] = check_topics()
    assert told.id == "outbox.I001"
    assert "nots" in told.msg


def test_a_handler_within_that_no_repository_was_given_is_an_error(declare):
    declare("mongomock://", within={NoteWritten: "notes.messaging"})
    [message] = check_transactions()
    assert message.id == "outbox.E005"
    assert message.msg.startswith("NoteWritten has a handler in `within` of notes.messaging, but")


def test_the_check_is_registered():
    from django.core.checks.registry import registry

    assert check_transactions in registry.get_checks()
