"""A Django project to measure on: the outbox alone, on the servers that the run has started."""

import os

SECRET_KEY = "benchmarks"
INSTALLED_APPS = ["outbox", "benchmarks"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.urls"
ALLOWED_HOSTS = ["*"]
LOGGING = {"version": 1, "disable_existing_loggers": False}

OUTBOX_MONGODB_URI = os.environ.get("OUTBOX_MONGODB_URI", "")
OUTBOX_MONGODB_DATABASE = os.environ.get("OUTBOX_MONGODB_DATABASE", "")
OUTBOX_REDIS_URL = os.environ.get("OUTBOX_REDIS_URL", "")
OUTBOX_WAKE = None

CELERY_BROKER_URL = OUTBOX_REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE = {
    "outbox-sweep": {
        "task": "outbox.tasks.sweep",
        "schedule": 1.0,
        "options": {"expires": 1.0},
    }
}
