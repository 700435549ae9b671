"""Models without tables: what the admin hangs permissions, menu and pages on.

What they stand for is in MongoDB; `outbox.monitoring`, `outbox.pending`, `outbox.dispatched`,
`outbox.waiting` and `outbox.dead_letters` read it. Nothing here is ever stored or queried through
Django's ORM.
"""

from django.db import models


def short(key: str) -> str:
    """An id by its end, which tells it apart: that of an event begins with the time."""
    return key if len(key) <= 24 else f"…{key[-12:]}"


class Overview(models.Model):
    """The state of the outbox as a whole: one page."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = verbose_name_plural = "overview"

    def __str__(self) -> str:
        return "overview"


class Message(models.Model):
    """The fields of a message, as `message_store.StoredMessage` has them."""

    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    version = models.CharField(max_length=255)
    topic = models.CharField(max_length=255)
    collection = models.CharField(max_length=255)
    aggregate_id = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField()
    occurred_at = models.DateTimeField()
    payload = models.TextField()
    metadata = models.JSONField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type} {short(self.event_id)}"


class PendingMessage(Message):
    """A message that waits in its aggregate's document; `key` says where it lies."""

    key = models.CharField(max_length=1000, primary_key=True)
    due_at = models.DateTimeField()
    attempts = models.PositiveIntegerField()
    last_error = models.TextField()

    class Meta:
        managed = False
        default_permissions = ("view", "retry", "discard")
        verbose_name = "pending message"


class DispatchedMessage(Message):
    """A message that was published, from the archive."""

    event_id = models.CharField(max_length=255, primary_key=True)
    dispatched_at = models.DateTimeField()

    class Meta:
        managed = False
        default_permissions = ("view", "replay")
        verbose_name = "dispatched message"


class WaitingEvent(models.Model):
    """An event that a subscriber has put aside to try it again, as `deferred` keeps it."""

    key = models.CharField(max_length=1000, primary_key=True)
    subscriber = models.CharField(max_length=255)
    topic = models.CharField(max_length=255)
    stream = models.CharField(max_length=255)
    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    aggregate_id = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField()
    text = models.TextField()
    attempts = models.PositiveIntegerField()
    due_at = models.DateTimeField()
    since = models.DateTimeField()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "waiting event"

    def __str__(self) -> str:
        event = self.type or "event"
        return (
            f"{event} for {self.subscriber}, number {self.sequence} of {short(self.aggregate_id)}"
        )


class DeadLetter(models.Model):
    """An event that a subscriber couldn't handle, as `dead_letters` keeps it."""

    key = models.CharField(max_length=1000, primary_key=True)
    subscriber = models.CharField(max_length=255)
    state = models.CharField(max_length=255)
    topic = models.CharField(max_length=255)
    stream = models.CharField(max_length=255)
    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    aggregate_id = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField(null=True)
    text = models.TextField()
    error = models.TextField()
    error_type = models.CharField(max_length=255)
    traceback = models.TextField()
    attempts = models.PositiveIntegerField()
    first_failed_at = models.DateTimeField()
    failed_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=255)
    reason = models.TextField()

    class Meta:
        managed = False
        default_permissions = ("view", "replay", "discard")
        verbose_name = "dead letter"

    def __str__(self) -> str:
        return f"{self.type or 'unreadable'} for {self.subscriber} {short(self.event_id)}"
