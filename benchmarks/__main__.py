"""Run the benchmarks: `python -m benchmarks [--full] [--json FILE] [NAME…]`, or `make bench`.

Starts its own servers, unless the three OUTBOX_* variables name some.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack, contextmanager
from pathlib import Path

import django

from config import embedded
from outbox.management.base import keep_what_is_loaded


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more rounds and more shapes")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (relay, save, …)")
    options = parser.parse_args()
    if options.json:
        options.json.touch()  # it can be written, as will be wanted after half an hour
    # Told to stop, as by Ctrl-C: the servers are stopped, and their folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load, began = os.getloadavg()[0], time.monotonic()
    with servers() as variables:
        os.environ |= variables | {"DJANGO_SETTINGS_MODULE": "benchmarks.project"}
        django.setup()
        results, failed = run(options.full, options.names)
        from benchmarks import report

        machine = report.machine(load)
        print(f"\n{', '.join(f'{name} {value}' for name, value in machine.items())}\n")
        print("\n".join([*report.table(results), "", report.LEGEND]))
        print(f"{time.monotonic() - began:.0f} seconds", file=sys.stderr)
    if options.json:
        found = {"machine": machine, "results": results}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if failed:
        sys.exit(f"Failed, as told above: {', '.join(failed)}.")


def run(full, names):
    """The results, and the numbers and names of those that failed; the others go on."""
    results, failed = [], []
    plans = list(plan(full))
    # As `outbox_relay` and `outbox_consume` do. Ours and the floors are in this process.
    keep_what_is_loaded()
    there = list(dict.fromkeys(name for name, *_ in plans))
    if unknown := [name for name in names if name not in there]:
        sys.exit(f"No benchmark is called {unknown[0]}; there are: {', '.join(there)}.")
    plans = [one for one in plans if not names or one[0] in names]
    for number, (name, benchmark, arguments) in enumerate(plans, 1):
        words = ", ".join(f"{key} {value}" for key, value in arguments.items())
        print(f"[{number}/{len(plans)}] {name}: {words}", file=sys.stderr, flush=True)
        try:
            found = benchmark(**arguments)
            results += [found] if isinstance(found, dict) else found
        except Exception:
            # Any exception: what the others have measured is not lost.
            traceback.print_exc()
            failed.append(f"[{number}] {name}")
    return results, failed


def plan(full):
    """What is measured: (name, function, its arguments)."""
    from benchmarks import commands, consumers, growth, latency, relay, save

    rounds = 5 if full else 3
    documents = 20_000 if full else 8_000
    for events in (1, 3, 10) if full else (1,):
        for payload in (500, 8000) if full else (500,):
            for archived in (False, True):
                shape = {"events": events, "payload": payload, "archived": archived}
                number = documents // events // (1 if payload < 1000 else 4)
                yield "relay", relay.run, {"documents": number, **shape, "rounds": rounds}
    yield "two", relay.two, {"documents": documents, "rounds": rounds}
    for way, rate in [
        ("outbox_relay", 20),
        ("Celery's wake", 20),
        *([("Celery's wake, solo pool", 20)] if full else []),
        *((way, 300) for way in latency.WAYS if full),
        *([("beat alone", 20)] if full else []),
    ]:
        yield "latency", latency.run, {"way": way, "rate": rate, "seconds": 60 if full else 16}
    for events, against in (
        (1, save.BARE),
        (1, save.TWO_WRITES),
        *(((5, save.BARE), (5, save.TWO_WRITES)) if full else ()),
    ):
        shape = {"events": events, "against": against}
        yield "save", save.run, {"saves": 250, "rounds": rounds, **shape}
    woken = {"events": 1, "against": save.BARE, "wake": "outbox.tasks.wake"}
    yield "save", save.run, {"saves": 100, "rounds": rounds, **woken}
    yield "commands", commands.over_the_bus, {"commands": 200, "rounds": rounds}
    yield "commands", commands.over_http, {"requests": 200, "rounds": rounds}
    for kind, aggregates, events in (
        ("projection", 10_000 if full else 5_000, 1),
        ("projection", 2_500 if full else 1_250, 4),
        ("embedded", 1_000, 1),
        ("recorded", 2_000, 1),
    ):
        shape = {"kind": kind, "aggregates": aggregates, "events": events}
        yield "consumers", consumers.run, {**shape, "rounds": rounds}
    for many in (100_000, 1_000_000) if full else (100_000,):
        yield "growth", growth.run, {"few": 1_000, "many": many, "rounds": rounds, "times": 50}
    if full:
        for who, history in [(who, 300) for who in growth.WHO] + [("relay", 0)]:
            shape = {"documents": 1_000_000, "history": history}
            yield "backlog", growth.backlog, {"who": who, **shape}


@contextmanager
def servers():
    """The OUTBOX_* settings of the servers to measure on."""
    with ExitStack() as stack:
        if own := embedded.own_servers():
            own["OUTBOX_MONGODB_DATABASE"] += "_benchmark"
            yield own
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outbox-bench-")))
        mongodb = embedded.MongoDB(folder / "mongod")
        # What is measured shouldn't be the small cache that is enough for a demo.
        mongodb.cache = None
        stack.enter_context(mongodb)
        redis = stack.enter_context(embedded.Redis(folder / "redis"))
        yield {
            "OUTBOX_MONGODB_URI": mongodb.url,
            "OUTBOX_MONGODB_DATABASE": "benchmark",
            "OUTBOX_REDIS_URL": redis.url,
        }


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
