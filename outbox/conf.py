"""Settings: `OUTBOX_<NAME>` in the Django settings, typed, defaulted, read when used.

Reading an attribute looks the Django setting up at that moment, so `override_settings` works
(after procrastinate's `settings.py`). The system checks hold the types and say what is wrong.
"""

from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings


class Settings:
    #: Where MongoDB is. `mongomock://` is an in-process store, for a trial or fast tests.
    MONGODB_URI: str = "mongodb://localhost:27017"
    #: The database that holds the aggregates' collections and the outbox's own.
    MONGODB_DATABASE: str = "outbox"
    #: Seconds any one MongoDB operation may take, retries included.
    MONGODB_TIMEOUT: float = 10.0
    #: Where Redis is.
    REDIS_URL: str = "redis://localhost:6379/0"
    #: Seconds to wait for Redis to connect or answer when publishing.
    REDIS_TIMEOUT: float = 5.0
    #: The publisher class, by dotted path.
    PUBLISHER: str = "outbox.publishers.redis.RedisStreamPublisher"
    #: The function from `Envelope` to JSON text, by dotted path.
    ENVELOPE: str = "outbox.envelope.to_json"
    #: Put before a topic's name to make its stream's key.
    STREAM_PREFIX: str = ""
    #: Partitions of a collection: how many relays can work on it at once. Set once a document.
    PARTITIONS: int = 8
    #: Documents the relay reads, publishes and pulls at a time.
    BATCH: int = 500
    #: Seconds a relay holds a partition without renewing; how long the death of one delays it.
    LEASE: float = 5.0
    #: Seconds after which a sweep ends and leaves the rest to the next.
    SWEEP_TIME: float = 20.0
    #: How long dispatched messages are kept in the archive; None keeps none.
    RETENTION: timedelta | None = timedelta(days=7)
    #: How long entries stay on the streams once every group has acknowledged them; None: for good.
    STREAM_RETENTION: timedelta | None = timedelta(days=7)
    #: What Redis must have done before messages count as published: {"replicas": 1} or {"aof": 1},
    #: or both; None takes its answer for it.
    REDIS_DURABILITY: dict[str, int] | None = None
    #: Topics that are spread over several streams: {"orders": {"partitions": 4}}.
    TOPICS: dict[str, Any] = {}  # noqa: RUF012 - read, never changed
    #: Seconds of the first retry of a message that the broker refused, or a subscriber's handler;
    #: doubled each time.
    BACKOFF: float = 1.0
    #: Seconds that a retry waits at most.
    BACKOFF_MAX: float = 300.0
    #: Failed attempts from which on a pending message is stuck: it is alerted on, and still tried.
    STUCK_AFTER: int = 10
    #: Messages that may wait in one document; a command that would exceed it is `OutboxFull`.
    MAX_PENDING: int = 1000
    #: Bytes that a document may grow to with the messages in it; MongoDB's own limit is 16 MiB.
    MAX_DOCUMENT_SIZE: int = 15_000_000
    #: Ids of handled commands and events that a document remembers.
    HANDLED: int = 100
    #: Answers to repeatable commands that a document remembers.
    ANSWERS: int = 10
    #: Events a consumer reads and handles at a time.
    CONSUMER_BATCH: int = 500
    #: How often an event is given to a subscriber before it becomes a dead letter.
    MAX_ATTEMPTS: int = 10
    #: How long the inbox keeps what was handled; the position in each aggregate's events is kept.
    INBOX_RETENTION: timedelta = timedelta(days=7)
    #: Seconds that an event waits for one before it that is missing.
    GAP_TIMEOUT: float = 60.0
    #: What becomes of it then: "hold" waits on, "pass" goes on without the missing one.
    GAP_POLICY: str = "hold"
    #: Failures of a subscriber in a row that open its circuit breaker.
    BREAKER_FAILURES: int = 5
    #: Seconds that an open breaker waits before it lets an event try.
    BREAKER_RESET: float = 5.0
    #: Dead letters from which on an error is logged and the signal `dead_letter_alert` sent.
    DEAD_LETTER_ALERT: int = 10
    #: Whether what happens is counted, and the processes seen, in MongoDB: for metrics and charts.
    STATISTICS: bool = True
    #: What is worth a warning, and what is bad: {"stuck": (1, 10)}; what isn't named is as in
    #: `outbox.thresholds`.
    THRESHOLDS: dict[str, Any] = {}  # noqa: RUF012 - read, never changed
    #: Called with (collection, partition) after a commit, by dotted path; None leaves it to beat.
    WAKE: str | None = "outbox.tasks.wake" if find_spec("celery") else None
    #: Seconds that a wake may keep a command waiting.
    WAKE_TIMEOUT: float = 0.25
    #: Seconds without wakes after one that failed.
    WAKE_PAUSE: float = 5.0

    def __getattribute__(self, name: str) -> Any:
        setting = f"OUTBOX_{name}"
        try:
            # What Django has looked up before, without its going about it each time.
            return object.__getattribute__(django_settings, setting)
        except AttributeError:
            default = super().__getattribute__(name)
            return default if name.startswith("_") else getattr(django_settings, setting, default)


conf = Settings()


def put_defaults() -> None:
    """Put the defaults among the Django settings (as django-appconf does).

    One that is there is found several times as fast as one that is missing, and a save looks ten
    up. `manage.py diffsettings` then shows them too.
    """
    for name in Settings.__annotations__:
        if not hasattr(django_settings, f"OUTBOX_{name}"):
            setattr(django_settings, f"OUTBOX_{name}", getattr(Settings, name))
