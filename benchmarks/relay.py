"""Relay throughput of one process, against the floor: messages a second."""

from datetime import timedelta

from django.test import override_settings

from benchmarks import floor, stage
from outbox import connections
from outbox.relay import Relay


def run(documents, events, archived, rounds):
    """Interleaved rounds, ours and the floor taking turns to go first."""
    found = {"ours": [], "floor": []}
    with override_settings(OUTBOX_RETENTION=timedelta(days=7) if archived else None):
        for number in range(rounds):
            for who in ("floor", "ours") if number % 2 else ("ours", "floor"):
                stage.clear()
                stage.fill(documents, events)
                with stage.stopwatch() as seconds:
                    published = (
                        _floor(archived) if who == "floor" else Relay(stage.COLLECTION).sweep()
                    )
                assert published == documents * events, f"{published} published by {who}"
                found[who].append(published / seconds())
    with_archive = "with" if archived else "without"
    name = f"relay, {events} event(s) a document, {with_archive} archive"
    return stage.summary(name, found["ours"], found["floor"], "messages/s", "at least 0.80")


def _floor(archived):
    database = connections.database()
    archive = database["outbox_dispatched"] if archived else None
    return floor.relay(database[stage.COLLECTION], archive, connections.redis_client())
