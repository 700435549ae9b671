"""Settings of the reference project. Whatever is secret or differs by place is in the environment.

DJANGO_SECRET_KEY         required unless DJANGO_DEBUG is on
DJANGO_DEBUG              1 to turn it on
DJANGO_ALLOWED_HOSTS      comma-separated; default localhost,127.0.0.1
DJANGO_DATABASE           path of the SQLite file that keeps users, sessions and tokens
DJANGO_ANONYMOUS_ACCESS   names of views open to anyone (schema, docs, metrics, …), comma-separated;
                          default none. Views of orders, opened so, give anyone all orders: for
                          trials only
DJANGO_WRITE_RATE         requests that write, a user and process, "60/min" by default; empty: any
DJANGO_INSECURE_HTTP      1 to do without TLS: for a machine of one's own only (implied by DEBUG)
DJANGO_BEHIND_PROXY       1 if a proxy ends TLS, and sets or removes X-Forwarded-Proto
DJANGO_HSTS_SECONDS       how long browsers are to insist on TLS; default 3600, to be raised later
DJANGO_HSTS_SUBDOMAINS    0 to leave subdomains, and browsers' preload lists, out of that
DJANGO_EMAIL_BACKEND      dotted path; default: letters are written to the console
DJANGO_EMAIL_HOST, DJANGO_EMAIL_PORT, DJANGO_EMAIL_HOST_USER, DJANGO_EMAIL_HOST_PASSWORD
DJANGO_LOG_FORMAT         json: one JSON object a line, with all fields; default: text
DJANGO_LIFE_LOG           DEBUG: a log line for each step of each message; INFO, the default: for
                          each batch; WARNING: none
CELERY_BROKER_URL         default: OUTBOX_REDIS_URL
OUTBOX_MONGODB_URI, OUTBOX_MONGODB_DATABASE, OUTBOX_REDIS_URL
"""

import os
import re
from pathlib import Path
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured


def _is_on(name: str, default: str = "") -> bool:
    return os.environ.get(name, default).lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _rate(name: str, default: str) -> str | None:
    rate = os.environ.get(name, default)
    if rate and not re.fullmatch("[0-9]+/(s|sec|m|min|h|hour|d|day)", rate):
        raise ImproperlyConfigured(f'{name} is {rate!r}, and not like "60/min".')
    return rate or None


BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = _is_on("DJANGO_DEBUG")
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or ("only-for-debugging" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "Set DJANGO_SECRET_KEY to a long random text (or DJANGO_DEBUG=1 on your own machine)."
    )
ALLOWED_HOSTS = _list("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1")

# Over TLS only, unless told otherwise.
SECURE = not (DEBUG or _is_on("DJANGO_INSECURE_HTTP"))
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
# Probes come from within, over plain HTTP.
SECURE_REDIRECT_EXEMPT = ["^healthz/"]
SECURE_HSTS_SECONDS = int(os.environ.get("DJANGO_HSTS_SECONDS", "3600")) if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _is_on("DJANGO_HSTS_SUBDOMAINS", "1")
if _is_on("DJANGO_BEHIND_PROXY"):
    # Without such a proxy anyone could send this header.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "outbox",
    "orders",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "outbox.middleware.MessageContextMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Users, sessions and tokens only: whatever the project is about is in MongoDB.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True

# Room for an order of the largest size; a larger body is refused before it is parsed.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["outbox.api.permissions.IsAuthenticatedUnlessOpened"],
    "DEFAULT_PARSER_CLASSES": ["outbox.api.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "outbox.api.problems.exception_handler",
    "DEFAULT_THROTTLE_CLASSES": ["outbox.api.throttling.WriteThrottle"],
    "DEFAULT_THROTTLE_RATES": {"write": _rate("DJANGO_WRITE_RATE", "60/min")},
    # Whose write it is where a view is open to anyone: X-Forwarded-For is the client's own word.
    "NUM_PROXIES": 0,
}
# In each process's own memory: what the throttle counts there needs no server that could be away.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # Users who write at the same time; of more than that, it forgets some.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
ANONYMOUS_ACCESS = _list("DJANGO_ANONYMOUS_ACCESS")

SPECTACULAR_SETTINGS = {
    "TITLE": "Orders",
    "VERSION": "1.0",
    "DESCRIPTION": "The reference API of a transactional outbox for Django on MongoDB.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["outbox.api.permissions.IsAuthenticatedUnlessOpened"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

_mail_backend = os.environ.get(
    "DJANGO_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend"
)
_mail_server: dict[str, Any] = {
    "host": os.environ.get("DJANGO_EMAIL_HOST", "localhost"),
    "port": int(os.environ.get("DJANGO_EMAIL_PORT", "25")),
    "username": os.environ.get("DJANGO_EMAIL_HOST_USER", ""),
    "password": os.environ.get("DJANGO_EMAIL_HOST_PASSWORD", ""),
    "timeout": 10,
}
if django.VERSION >= (6, 1):
    # Only who sends over SMTP takes these.
    _options = _mail_server if _mail_backend.endswith(".smtp.EmailBackend") else {}
    MAILERS = {"default": {"BACKEND": _mail_backend, "OPTIONS": _options}}
else:
    EMAIL_BACKEND = _mail_backend
    EMAIL_HOST, EMAIL_PORT = _mail_server["host"], _mail_server["port"]
    EMAIL_HOST_USER = _mail_server["username"]
    EMAIL_HOST_PASSWORD = _mail_server["password"]
    EMAIL_TIMEOUT = _mail_server["timeout"]
DEFAULT_FROM_EMAIL = "Orders <orders@shop.example.com>"
# Stands in for a directory of customers.
ORDERS_CUSTOMER_ADDRESS = "{customer_id}@customers.example.com"
# What of a user is its customer id, by dotted path.
ORDERS_CUSTOMER_ID_ATTRIBUTE = "username"

OUTBOX_MONGODB_URI = os.environ.get("OUTBOX_MONGODB_URI", "mongodb://localhost:27017")
OUTBOX_MONGODB_DATABASE = os.environ.get("OUTBOX_MONGODB_DATABASE", "outbox")
OUTBOX_REDIS_URL = os.environ.get("OUTBOX_REDIS_URL", "redis://localhost:6379/0")

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", OUTBOX_REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # the worker must be there when the broker is back
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "outbox-sweep": {
        "task": "outbox.tasks.sweep",
        "schedule": 1.0,
        "options": {"expires": 1.0},
    },
    "outbox-trim": {
        "task": "outbox.tasks.trim",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reporting.WithoutAddresses"
LOG_FORMATS = {
    "text": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
    "json": {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "format": "{levelname}{name}{message}",
        "style": "{",
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": True,
    },
}
LOG_FORMAT = os.environ.get("DJANGO_LOG_FORMAT") or "text"
if LOG_FORMAT not in LOG_FORMATS:
    raise ImproperlyConfigured(f"DJANGO_LOG_FORMAT is {LOG_FORMAT!r}, and not text or json.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # Only the one that is used: whoever doesn't want JSON doesn't need the package for it.
    "formatters": {LOG_FORMAT: LOG_FORMATS[LOG_FORMAT]},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"outbox.life": {"level": os.environ.get("DJANGO_LIFE_LOG", "INFO").upper()}},
}
# Else Celery's workers would log in a format of their own.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
