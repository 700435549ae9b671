"""Relay throughput of one process, against the floor: messages a second."""

import math
import os
import statistics
from datetime import timedelta
from pathlib import Path

from django.test import override_settings

from benchmarks import floor, processes, stage
from outbox import connections
from outbox.relay import Relay

BARS = {False: "at least 0.92", True: "at least 0.90"}


def run(documents, events, archived, rounds, payload=500):
    """Interleaved rounds, ours and the floor taking turns to go first."""
    found = {"ours": [], "floor": []}
    with override_settings(OUTBOX_RETENTION=timedelta(days=7) if archived else None):
        for who in stage.turns(rounds):
            stage.clear()
            stage.fill(documents, events, payload)
            with stage.stopwatch() as seconds:
                published = _floor(archived) if who == "floor" else Relay(stage.COLLECTION).sweep()
            assert published == documents * events, f"{published} published by {who}"
            found[who].append(published / seconds())
    with_archive = "with" if archived else "without"
    name = f"relay, {events} event(s) of {(payload + 200) / 1000:.1f} KB, {with_archive} archive"
    bar = BARS[archived] if events == 1 and payload == 500 else ""
    return stage.summary(name, found["ours"], found["floor"], "messages/s", bar)


def two(documents, rounds):
    """Two relays in two processes on the same collection, against one."""
    found, busy, shares = ({"ours": [], "floor": []} for _ in range(3))
    with override_settings(OUTBOX_RETENTION=None):
        for who in stage.turns(rounds):
            stage.clear()
            stage.fill(documents, 1)
            with processes.sweepers(2 if who == "ours" else 1) as sweep:
                before, all_before = server_time(), processors_time()
                with stage.stopwatch() as seconds:
                    published = sweep()
                used, all_used = server_time() - before, processors_time() - all_before
            assert published == documents, f"{published} published by {who}"
            found[who].append(published / seconds())
            busy[who].append(all_used / seconds())
            shares[who].append(used / seconds())
    two, one, mongod_two, mongod_one = (
        statistics.median(some[who]) for some in (busy, shares) for who in ("ours", "floor")
    )
    note = f"of {os.cpu_count()} CPUs, {two:.2f} were busy with two, {one:.2f} with one"
    note += f"; mongod used {mongod_two:.2f} and {mongod_one:.2f}"
    rates = found["ours"], found["floor"], "messages/s", "at least 1.3"
    return {**stage.summary("two relays / one", *rates), "note": note}


def server_time():
    """Seconds of CPU that mongod has used."""
    status = connections.database().client.admin.command("serverStatus")
    usage = status["extra_info"]
    return (usage["user_time_us"] + usage["system_time_us"]) / 1e6


def processors_time():
    """Seconds of CPU that the whole machine has used; nothing where there is no /proc."""
    try:
        words = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    except FileNotFoundError:
        return math.nan
    user, nice, system, _idle, _wait, interrupt, soft, *_ = map(int, words)
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def _floor(archived):
    database = connections.database()
    archive = database["outbox_dispatched"] if archived else None
    return floor.relay(database[stage.COLLECTION], archive, connections.redis_client())
