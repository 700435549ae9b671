"""The app alone: a fresh interpreter that has the app's own dependencies and nothing else."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def closure(requirements):
    """The distributions that `requirements` come to, without any extras."""
    found, waiting = set(), list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found.add(requirement.name)
        waiting.extend(distribution(requirement.name).requires or ())
    return found


@pytest.fixture
def alone(tmp_path):
    """Runs Python where only the outbox and what it requires can be imported."""
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for name in closure(requirements):
        for file in distribution(name).files:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(distribution(name).locate_file(top))
    (tmp_path / "outbox").symlink_to(ROOT / "outbox")

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-S", "-W", "error", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_there_is_no_celery_and_no_rest_framework_here(alone):
    for name in ("celery", "rest_framework", "mongomock"):
        assert "ModuleNotFoundError" in alone("-c", f"import {name}").stderr


@pytest.mark.parametrize("command", [["check"], ["makemigrations", "--check"]])
def test_a_project_with_nothing_but_the_outbox_is_clean(alone, tmp_path, command):
    (tmp_path / "fresh.py").write_text(
        "INSTALLED_APPS = ['outbox']\nSECRET_KEY = 'fresh'\nUSE_TZ = True\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    result = alone("-m", "django", *command, DJANGO_SETTINGS_MODULE="fresh")
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout or "No changes" in result.stdout


def test_the_script_of_the_docs_saves_and_relays_a_document(
    alone, tmp_path, mongo, redis, settings
):
    page = (ROOT / "docs" / "getting-started.md").read_text()
    script = re.search(r"```python\n# plain\.py\n(.*?)```", page, re.S)[1]
    (tmp_path / "plain.py").write_text(script)
    result = alone(
        "plain.py",
        OUTBOX_MONGODB_URI=settings.OUTBOX_MONGODB_URI,
        OUTBOX_MONGODB_DATABASE=settings.OUTBOX_MONGODB_DATABASE,
        OUTBOX_REDIS_URL=settings.OUTBOX_REDIS_URL,
    )
    assert result.stdout == "2 published\n", result.stderr
    assert redis.xlen("plain-notes") == 2
    assert mongo["plain_notes"].find_one()["outbox"]["pending"] == []
