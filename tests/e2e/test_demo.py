"""`make demo`, as a newcomer runs it, in a copy of the checkout with a run folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.embedded import VARIABLES
from config.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    for folder in ("config", "orders", "outbox"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


def alive(folder):
    """The processes that were started in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            started_in = b"PWD=" + str(folder).encode()
            if started_in in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it has ended, or isn't ours to look at
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for what is left in /proc")
def test_the_demo_accounts_for_every_event_and_its_effects_and_leaves_nothing_behind(checkout):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    demo = subprocess.run(
        [sys.executable, "-m", "config.demo"],
        cwd=checkout,
        env={**environment, "EXIT": "1", "PORT": str(free_port()), "PWD": str(checkout)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for name in ("worker", "consumer"):
        assert re.search(rf"The {name} \(pid \d+\) is killed with SIGKILL", demo.stdout)
    rows = dict(re.findall(r"│ ([\w +]+?) +│ +(\d+) ", demo.stdout))
    assert rows["orders"] == "100"
    assert rows["events expected from documents"] == rows["events on the streams"]
    assert rows["missing"] == rows["out of order"] == rows["invented"] == "0"
    assert rows["rows of the read model"] == "100"
    assert rows["that differ from their orders"] == "0"
    assert rows["units of stock set"] == rows["on hand + reserved + shipped"]
    assert rows["oversold"] == rows["held for nobody"] == rows["dead letters"] == "0"
    assert int(rows["orders out of stock"]) > 0
    assert rows["orders shipped"] == rows["letters about them"]
    assert demo.stderr == ""
    assert alive(checkout) == []
    assert not list((checkout / ".run").glob("*.pid"))
