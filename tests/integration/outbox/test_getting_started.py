"""The steps of the docs, done: a project is made of their code, and a command publishes."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STEP = re.compile(r"```python\n# (notes/\w+\.py)\n(.*?)```", re.S)

SETTINGS = """
import os
SECRET_KEY = "fresh"
USE_TZ = True
INSTALLED_APPS = ["outbox", "notes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
OUTBOX_WAKE = None
for name in ("OUTBOX_MONGODB_URI", "OUTBOX_MONGODB_DATABASE", "OUTBOX_REDIS_URL"):
    globals()[name] = os.environ[name]
"""


def test_the_five_steps_lead_to_a_published_event(tmp_path, mongo, redis, settings):
    page = (ROOT / "docs" / "getting-started.md").read_text()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "__init__.py").touch()
    (tmp_path / "fresh.py").write_text(SETTINGS)
    steps = STEP.findall(page)
    assert len(steps) == 3
    for path, code in steps:
        (tmp_path / path).write_text(code)

    def manage(*arguments, **options):
        variables = {
            name: getattr(settings, name)
            for name in ("OUTBOX_MONGODB_URI", "OUTBOX_MONGODB_DATABASE", "OUTBOX_REDIS_URL")
        }
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **variables}
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--settings=fresh"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            **options,
        ).stdout

    assert "no issues" in manage("check")
    manage("migrate")
    assert "outbox_due" in mongo["notes"].index_information()
    manage(
        "shell",
        input="from outbox.discovery import bus\nfrom notes.domain import WriteNote\n"
        "bus().handle(WriteNote(note_id='n1', text='hello'))\n",
    )
    assert manage("outbox_sweep") == "notes: 1 published\n"
    assert redis.xlen("notes") == 1
