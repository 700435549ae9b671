"""Routes for machines: `path("", include("outbox.urls"))`; `/metrics` if there is the extra."""

from importlib.util import find_spec

from django.urls import path

from outbox import views

urlpatterns = [
    path("healthz/live", views.live, name="health-live"),
    path("healthz/ready", views.ready, name="health-ready"),
    path("healthz/outbox", views.outbox, name="health-outbox"),
]

if find_spec("prometheus_client"):
    urlpatterns.append(path("metrics", views.metrics, name="metrics"))
