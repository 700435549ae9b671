"""The report: a table for people and the same as JSON."""

import os
import platform
from importlib.metadata import version

from outbox import connections

LEGEND = """
floor: a short script without our code and its guarantees, on the same servers; or what is named
       behind the "/". ratio: ours / floor. Of so many a second more is better, of ms and MB less.
bar:   what the ratio should be; of "commit to stream", what ours should be. Behind it "missed", if
       it isn't.
range: the least and the most of the rounds; of "commit to stream", of all commits.
On a busy machine (load, before the run, near the number of CPUs or above) neither absolute figures
nor small differences mean much.
""".strip("\n")


def machine(load):
    """The machine, how busy it was with other things, and the versions.

    Without which no figure means anything.
    """
    mongodb = connections.database().client.server_info()["version"]
    redis = connections.redis_client().info("server")
    return {
        "cpus": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB",
        "load": round(load, 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "mongodb": mongodb,
        "redis": redis["redis_version"],
        "redis-py": version("redis"),
        **{name: version(name) for name in ("pymongo", "hiredis", "django")},
    }


def missed(one):
    """Whether a result isn't as good as its bar wants it."""
    words = one["bar"].split()
    if words[:1] != ["at"]:
        return False
    found = one["ours"] if words[3:] == ["ms"] else one["ratio"]
    return found < float(words[2]) if words[1] == "least" else found > float(words[2])


def table(results):
    """The lines of the table."""
    head = f"{'':58} {'ours':>10} {'floor':>10} {'ratio':>6}  {'bar':<14} {'unit'}"
    lines = [head, "-" * len(head)]
    for one in results:
        lines.append(
            f"{one['name']:58} {one['ours']:10,.2f} {one['floor']:10,.2f} {one['ratio']:6.2f}"
            f"  {one['bar']:<14} {one['unit']}{', missed' if missed(one) else ''}"
        )
        spread = " … ".join(f"{value:,.2f}" for value in one["ours_range"])
        floor_spread = " … ".join(f"{value:,.2f}" for value in one["floor_range"])
        lines.append(f"{'':4}range: ours {spread}; floor {floor_spread}")
        if "note" in one:
            lines.append(f"{'':4}{one['note']}")
    return lines
