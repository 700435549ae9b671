"""Two views: a command over the bus, and a bare write of the same fields."""

from django.http import JsonResponse
from django.urls import path

from benchmarks import stage
from outbox import connections
from outbox.discovery import bus


def command(request, order_id, status):
    order = bus().handle(stage.ChangeOrder(order_id=order_id, status=status))
    return JsonResponse({"id": order.id, "status": order.status})


def write(request, order_id, status):
    documents = connections.database()[stage.COLLECTION]
    stored = documents.find_one({"_id": order_id}, {"outbox": 0})
    changes = {"status": status, "version": stored["version"] + 1}
    documents.update_one({"_id": order_id, "version": stored["version"]}, {"$set": changes})
    return JsonResponse({"id": order_id, "status": status})


urlpatterns = [
    path("command/<order_id>/<status>/", command),
    path("write/<order_id>/<status>/", write),
]
