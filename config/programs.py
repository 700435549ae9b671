"""The project's own programs: the commands that run them, and the environment they run in."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

PREPARE = [sys.executable, "-m", "config.prepare"]

# Neither who asked, nor what for: addresses and the query are nobody's business later on.
ACCESS = '%(t)s "%(m)s %(U)s" %(s)s %(b)s %(D)sus'

# The mingling of workers at their start takes a second and serves only what isn't used here.
WORKER = [
    *(sys.executable, "-m", "celery", "-A", "config", "worker", "--loglevel", "INFO"),
    *("--concurrency", "2", "--without-mingle", "--without-gossip"),
]

CONSUMER = [sys.executable, "manage.py", "outbox_consume"]


def web(port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--keep-alive", "60"),
        *("--graceful-timeout", "3", "--no-control-socket"),
        *("--access-logfile", "-", "--access-logformat", ACCESS),
    ]


def beat(data: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "-A", "config", "beat", "--loglevel", "INFO"),
        *("--schedule", str(data / "beat-schedule"), "--pidfile="),
    ]


def environment(servers: Mapping[str, str], data: Path) -> dict[str, str]:
    """What the programs are told, beside what this process was told itself."""
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1",
        "DJANGO_DATABASE": str(data / "db.sqlite3"),
        "DJANGO_ANONYMOUS_ACCESS": "schema,docs,metrics",
        # All of it is on loopback.
        "DJANGO_INSECURE_HTTP": "1",
        "CELERY_BROKER_URL": servers["OUTBOX_REDIS_URL"],
        "PYTHONUNBUFFERED": "1",
        **servers,
    }
