"""The Django app: checks the settings, finds the messaging tables, has `migrate` create indexes."""

import sys
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class OutboxConfig(AppConfig):
    name = "outbox"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from outbox import counting, life_log, tracing
        from outbox.checks import check_settings, check_topics, check_transactions
        from outbox.conf import put_defaults
        from outbox.discovery import messaging
        from outbox.durability_check import check_durability

        put_defaults()
        checks.register(check_settings)
        checks.register(check_topics)
        checks.register(check_transactions)
        checks.register(check_durability, deploy=True)
        post_migrate.connect(create_indexes, sender=self, dispatch_uid="outbox.create_indexes")
        counting.connect()
        life_log.connect()
        tracing.connect()
        messaging()


def create_indexes(sender: AppConfig, verbosity: int = 1, **kwargs: Any) -> None:
    """Create MongoDB's indexes at the end of `migrate` (and not of `flush`, which has no plan)."""
    from outbox.discovery import messaging, subscribers
    from outbox.errors import StoreUnavailable
    from outbox.indexes import ensure_indexes

    if "plan" not in kwargs:
        return
    try:
        names = ensure_indexes(messaging().repositories, subscribers())
    except StoreUnavailable as error:
        # The relational database is migrated; MongoDB may be another team's, or come later.
        sys.stderr.write(
            f"The outbox's indexes were not created: {error}\n"
            "Run `manage.py outbox_indexes` when MongoDB can be reached.\n"
        )
    else:
        if verbosity >= 2:
            sys.stdout.write("".join(f"  MongoDB index {name}\n" for name in names))
