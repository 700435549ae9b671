"""The Celery app of the reference project."""

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class PromptConnection(Connection):
    """Asks for a broker that is away each second.

    Celery would wait longer and longer, up to 30 s, which no setting changes: after a long outage
    the sweeps would begin that much later than they could.
    """

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        often = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super().ensure_connection(*args, **often | kwargs)


class PromptAMQP(AMQP):
    Connection = PromptConnection


app = Celery("config", amqp=PromptAMQP)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
