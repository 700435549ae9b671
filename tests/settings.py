"""Test settings: the reference project's, with nothing left to the environment."""

import os

os.environ["DJANGO_SECRET_KEY"] = "only-for-tests"
os.environ["DJANGO_INSECURE_HTTP"] = "1"

from config.settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
WHITENOISE_AUTOREFRESH = True

# Until a test asks for the real servers, everything is in this process.
OUTBOX_MONGODB_URI = "mongomock://"
OUTBOX_MONGODB_DATABASE = "unit"
OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
OUTBOX_PUBLISHER = "outbox.publishers.memory.InMemoryPublisher"
OUTBOX_WAKE = None
# Counting has a thread that writes; tests that want it turn it on.
OUTBOX_STATISTICS = False
