"""Run the benchmarks: `python -m benchmarks [--full] [--json FILE]`, or `make bench`.

Starts its own servers, unless the three OUTBOX_* variables name some.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import django

from config import embedded


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more rounds and more shapes")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    options = parser.parse_args()
    with servers() as variables:
        os.environ |= variables | {"DJANGO_SETTINGS_MODULE": "benchmarks.project"}
        django.setup()
        results = list(run(options.full))
        from benchmarks import report

        machine = report.machine()
        print(f"\n{', '.join(f'{name} {value}' for name, value in machine.items())}\n")
        print("\n".join(report.table(results)))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2))


def run(full):
    """Each benchmark in turn, saying what is going on."""
    from benchmarks import projection, relay, save, sweep

    rounds = 9 if full else 5
    plans = [
        *(
            (relay.run, {"documents": 20_000, "events": 1, "archived": archived, "rounds": rounds})
            for archived in (False, True)
        ),
        *(
            (
                relay.run,
                {"documents": 20_000 // n, "events": n, "archived": archived, "rounds": rounds},
            )
            for n in ((3, 10) if full else ())
            for archived in (False, True)
        ),
        *(
            (projection.run, {"aggregates": 10_000 // n, "events": n, "rounds": rounds})
            for n in (1, 4)
        ),
        (save.run, {"saves": 500, "rounds": rounds}),
        (sweep.run, {"few": 1_000, "many": 200_000, "rounds": rounds, "sweeps": 200}),
    ]
    for number, (benchmark, arguments) in enumerate(plans, 1):
        words = ", ".join(f"{name} {value}" for name, value in arguments.items())
        module = benchmark.__module__.rpartition(".")[2]
        print(f"[{number}/{len(plans)}] {module}: {words}", file=sys.stderr, flush=True)
        yield benchmark(**arguments)


@contextmanager
def servers():
    """The OUTBOX_* settings of the servers to measure on."""
    with ExitStack() as stack:
        if own := embedded.own_servers():
            own["OUTBOX_MONGODB_DATABASE"] += "_benchmark"
            yield own
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outbox-bench-")))
        mongodb = stack.enter_context(embedded.MongoDB(folder / "mongod"))
        redis = stack.enter_context(embedded.Redis(folder / "redis"))
        yield {
            "OUTBOX_MONGODB_URI": mongodb.url,
            "OUTBOX_MONGODB_DATABASE": "benchmark",
            "OUTBOX_REDIS_URL": redis.url,
        }


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
