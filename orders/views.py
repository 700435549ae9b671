"""Views of orders: HTTP to commands and queries, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from orders import messaging, paging, queries, read_model, serializers
from orders.access import CustomersView
from orders.domain import commands
from outbox import AlreadyHandled, Command
from outbox.api import headers
from outbox.api.headers import Idempotency
from outbox.api.problems import InvalidRequest
from outbox.api.schema import IF_MATCH, IF_NONE_MATCH, operation
from outbox.api.validation import validated_body, validated_query
from outbox.discovery import bus

ETAG = {"ETag": "The order's version."}
CURSOR = OpenApiParameter("cursor", str, description="The `next` of the page before.")


class Orders(CustomersView):
    """All orders that the request may see."""

    @operation(
        "list_orders",
        "List orders",
        "Newest first. Who isn't staff sees their own only.",
        answer=serializers.OrderPage,
        parameters=[
            OpenApiParameter("customer_id", str),
            OpenApiParameter("status", str, enum=["", *queries.STATUSES]),
            CURSOR,
        ],
        problems=[400],
    )
    def get(self, request: Request) -> Response:
        wanted = validated_query(serializers.ListParameters, request.query_params.dict())
        with _cursor_errors():
            found = queries.list_orders(**wanted.fields(), only_of=self.acts_for)
        return Response(found)

    @operation(
        "place_order",
        "Place an order",
        "The order's items are those of the body, in the same order. Who isn't staff places "
        "orders for themselves only.",
        body=serializers.PlaceOrderBody,
        answer=serializers.Order,
        status=201,
        headers=ETAG | {"Location": "The order's path."},
    )
    def post(self, request: Request) -> Response:
        body = validated_body(serializers.PlaceOrderBody, request)
        self.raise_unless_for(body.customer_id)
        once = Idempotency.of(request, body)
        # The repeat of a request is about the same id, and so finds what the first one stored.
        command = commands.PlaceOrder(order_id=once.message_id, **body.fields())
        order = _handle(command, once)
        return _answer(order, 201, Location=reverse("order-detail", args=[order["order_id"]]))


class OrderDetail(CustomersView):
    """One order."""

    @operation(
        "get_order",
        "Get an order",
        "As it is now.",
        answer=serializers.Order,
        headers=ETAG,
        parameters=[IF_NONE_MATCH],
        problems=[404],
    )
    def get(self, request: Request, order_id: str) -> Response:
        order = queries.get_order(order_id)
        if headers.not_modified(request, order["version"]):
            return Response(status=304, headers={"ETag": headers.etag(order["version"])})
        return _answer(order)


class CustomerOrders(CustomersView):
    """A customer's orders, from the read model."""

    @operation(
        "list_customer_orders",
        "List a customer's orders",
        "Newest first, as current as the published events are. Others' lists are found by staff "
        "only; nobody's orders are none.",
        answer=serializers.CustomerOrderPage,
        parameters=[CURSOR],
        problems=[400, 404],
    )
    def get(self, request: Request, customer_id: str) -> Response:
        wanted = validated_query(serializers.PageParameters, request.query_params.dict())
        with _cursor_errors():
            return Response(read_model.list_customer_orders(customer_id, **wanted.fields()))


class OrderCommandView(CustomersView):
    """One command on one order; a subclass says which, and what its body is."""

    command: ClassVar[type[commands.ChangeOrder]]
    body: ClassVar[type[serializers.Body]]

    def post(self, request: Request, order_id: str) -> Response:
        body = validated_body(self.body, request)
        command = self.command(
            order_id=order_id, expected_version=headers.expected_version(request), **body.fields()
        )
        return _answer(_handle(command, Idempotency.of(request, body)))


def _documented(
    operation_id: str, summary: str, description: str, body: type[serializers.Body]
) -> Any:
    return extend_schema_view(
        post=operation(
            operation_id,
            summary,
            description,
            body=body,
            answer=serializers.Order,
            headers=ETAG,
            parameters=[IF_MATCH],
            problems=[404, 412],
        )
    )


@_documented("add_item", "Add an item", "Until the order is paid.", serializers.AddItemBody)
class OrderItems(OrderCommandView):
    command = commands.AddItem
    body = serializers.AddItemBody


@_documented("pay_order", "Pay an order", "Notes its payment, once.", serializers.PayOrderBody)
class OrderPay(OrderCommandView):
    command = commands.PayOrder
    body = serializers.PayOrderBody


@_documented("ship_order", "Ship an order", "Once it is paid.", serializers.ShipOrderBody)
class OrderShip(OrderCommandView):
    command = commands.ShipOrder
    body = serializers.ShipOrderBody


@_documented("cancel_order", "Cancel an order", "Until it is shipped.", serializers.CancelOrderBody)
class OrderCancel(OrderCommandView):
    command = commands.CancelOrder
    body = serializers.CancelOrderBody


@contextmanager
def _cursor_errors() -> Iterator[None]:
    try:
        yield
    except paging.InvalidCursor as error:
        raise InvalidRequest([{"parameter": "cursor", "detail": str(error)}]) from None


def _handle(command: Command, once: Idempotency) -> dict[str, Any]:
    """The order as the command left it, now or when it was sent for the first time."""
    try:
        order = bus().handle(command, message_id=once.message_id, fingerprint=once.fingerprint)
    except AlreadyHandled as repeat:
        order = messaging.orders.answer(repeat.aggregate_id, repeat.message_id)
    return queries.as_saved(order, messaging.orders)


def _answer(order: dict[str, Any], status: int = 200, **more: str) -> Response:
    etag = headers.etag(order["version"])
    return Response(order, status=status, headers={"ETag": etag, **more})
