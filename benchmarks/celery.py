"""The Celery app of the benchmarks' project."""

from celery import Celery

app = Celery("benchmarks", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
