"""What the tests of the HTTP API send, and how."""

import json

from django.contrib.auth.models import User
from rest_framework.test import APIClient

ITEM = {"sku": "WIDGET-01", "quantity": 2, "unit_price": "49.99"}
ORDER = {"customer_id": "cust-789", "currency": "USD", "items": [ITEM]}
BODIES = {
    "items": {"sku": "GADGET-01", "quantity": 1, "unit_price": "10.01"},
    "pay": {"payment_reference": "pay-1"},
    "ship": {"carrier": "DHL", "tracking_number": "00340434"},
    "cancel": {"reason": "Changed my mind"},
}


class OrdersClient(APIClient):
    """Speaks JSON; headers are named by keyword (`If_Match`)."""

    def place(self, body=ORDER, **headers):
        return self.send("/api/orders/", body, **headers)

    def placed(self, **changes):
        """The id of an order that has just been placed."""
        response = self.place(ORDER | changes)
        assert response.status_code == 201, response.content
        return response.json()["order_id"]

    def command(self, order_id, name, body=None, **headers):
        return self.send(f"/api/orders/{order_id}/{name}/", body or BODIES[name], **headers)

    def set_stock(self, sku, on_hand, **headers):
        return self.send(f"/api/stock/{sku}/", {"on_hand": on_hand}, method="PUT", **headers)

    def send(self, path, body, *, content_type="application/json", method="POST", **headers):
        """Send `body`: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if "Transfer-Encoding" in named:
            # As a server passes it on: there is a body, and nobody says how long it is.
            return self.generic(method, path, b"", content_type, headers=named)
        return self.generic(method, path, data, content_type, headers=named)


def as_user(pk, **fields):
    client = OrdersClient()
    client.force_authenticate(User(pk=pk, **{"username": f"user-{pk}"} | fields))
    return client


def as_staff(pk):
    """The client of a user who may act for all customers."""
    return as_user(pk, is_staff=True)


def throttled_to(settings, rate):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"write": rate}}


def assert_problem(response, status):
    """The response is a whole problem+json of this status; returns the problem."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem.keys() - {"errors"} == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert all(isinstance(problem[key], str) for key in ("type", "title", "detail", "instance"))
    return problem
