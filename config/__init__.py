"""The reference project around the outbox and the orders app."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
