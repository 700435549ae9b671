"""The admin's pages of orders: each beside the history of its messages, to look at."""

from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from orders.models import Order
from orders.paging import NEWEST
from orders.queries import STATUSES
from orders.repository import OrderRepository
from outbox.admin.aggregates import AggregateAdmin
from outbox.admin.display import labelled, moment, unbroken


@admin.register(Order)
class OrderAdmin(AggregateAdmin):
    repository = OrderRepository
    newest = NEWEST
    filters = {"status": STATUSES, "customer_id": None}  # noqa: RUF012
    search_by = ("customer_id",)
    list_display = ("order_id", "state", "customer", "amount", "placed")

    @admin.display(description="status")
    def state(self, order: Any) -> SafeString:
        return labelled("status", unbroken(order.status))

    @admin.display(description="customer")
    def customer(self, order: Any) -> SafeString:
        """The customer's id, which leads to all of its orders."""
        name = "admin:orders_order_changelist"
        address = reverse(name, current_app=self.admin_site.name)
        query = urlencode({"customer_id": order.customer_id})
        link = format_html('<a href="{}?{}">{}</a>', address, query, order.customer_id)
        return labelled("customer", unbroken(link))

    @admin.display(description="total")
    def amount(self, order: Any) -> SafeString:
        return labelled("total", unbroken(f"{order.total:,} {order.currency}"))

    @admin.display(description="placed at")
    def placed(self, order: Any) -> SafeString:
        return labelled("placed", moment(order.placed_at, order.read_at))
