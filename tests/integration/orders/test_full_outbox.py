"""What a client is told when more waits in an order's document than may."""

from outbox import connections
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay


def test_a_command_on_a_full_order_is_unavailable_says_when_to_ask_again_and_changes_nothing(
    api, settings
):
    settings.OUTBOX_MAX_PENDING = 4
    order_id = api.placed()
    assert api.command(order_id, "items", Idempotency_Key="k1").status_code == 200
    before = connections.collection("orders").find_one()

    answer = api.command(order_id, "pay", Idempotency_Key="k2")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:problem-type:outbox-full"
    assert connections.collection("orders").find_one() == before
    # A repeat of what was stored needs no room.
    assert api.command(order_id, "items", Idempotency_Key="k1").status_code == 200

    Relay("orders", publisher=InMemoryPublisher()).sweep()
    assert api.command(order_id, "pay", Idempotency_Key="k2").status_code == 200
