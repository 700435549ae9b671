"""Views of the stock: what there is of a product, and setting it after a count."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import messaging, queries, serializers
from orders.domain import commands
from outbox import AlreadyHandled
from outbox.api import headers
from outbox.api.headers import Idempotency
from outbox.api.permissions import IsStaffUnlessOpened
from outbox.api.schema import IF_MATCH, IF_NONE_MATCH, operation
from outbox.api.validation import validated_body
from outbox.discovery import bus

ETAG = {"ETag": "The stock's version."}


class CreatesToo(AutoSchema):
    """Describes a PUT that answers 201 with what it otherwise answers 200 with."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        described: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if described and self.method == "PUT":
            described["responses"]["201"] = {**described["responses"]["200"]}
        return described


class StockDetail(APIView):
    """The stock of one product, for staff."""

    schema = CreatesToo()
    permission_classes = (IsStaffUnlessOpened,)

    @operation(
        "get_stock",
        "Get a product's stock",
        "Staff only. As it is now.",
        answer=serializers.Stock,
        headers=ETAG,
        parameters=[IF_NONE_MATCH],
        problems=[404],
    )
    def get(self, request: Request, sku: str) -> Response:
        stock = queries.get_stock(sku)
        if headers.not_modified(request, stock["version"]):
            return Response(status=304, headers={"ETag": headers.etag(stock["version"])})
        return _answer(stock)

    @operation(
        "set_stock",
        "Set what there is on hand of a product",
        "Staff only. What is reserved or shipped stays. 201 if there was no stock of it: from "
        "then on, orders of this product wait until it is reserved.",
        body=serializers.SetStockBody,
        answer=serializers.Stock,
        headers=ETAG,
        parameters=[IF_MATCH],
        problems=[404, 412],
    )
    def put(self, request: Request, sku: str) -> Response:
        body = validated_body(serializers.SetStockBody, request)
        once = Idempotency.of(request, body)
        command = commands.SetStock(
            sku=sku,
            expected_version=headers.expected_version(request),
            existing="If-Match" in request.headers,
            **body.fields(),
        )
        try:
            stock = bus().handle(command, message_id=once.message_id, fingerprint=once.fingerprint)
        except AlreadyHandled as repeat:
            stock = messaging.stocks.answer(repeat.aggregate_id, repeat.message_id)
        return _answer(
            queries.stock_as_saved(stock, messaging.stocks), 201 if stock.version == 1 else 200
        )


def _answer(stock: dict[str, Any], status: int = 200) -> Response:
    return Response(stock, status=status, headers={"ETag": headers.etag(stock["version"])})
