"""Routes of orders and stock, below `/api/`."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from orders import stock_views, views
from orders.serializers import NAME


class SkuConverter(StringConverter):
    """What can be a sku; any other path leads nowhere."""

    regex = NAME


register_converter(SkuConverter, "sku")

urlpatterns = [
    path("orders/", views.Orders.as_view(), name="order-list"),
    path("orders/<str:order_id>/", views.OrderDetail.as_view(), name="order-detail"),
    path("orders/<str:order_id>/items/", views.OrderItems.as_view(), name="order-items"),
    path("orders/<str:order_id>/pay/", views.OrderPay.as_view(), name="order-pay"),
    path("orders/<str:order_id>/ship/", views.OrderShip.as_view(), name="order-ship"),
    path("orders/<str:order_id>/cancel/", views.OrderCancel.as_view(), name="order-cancel"),
    path(
        "customers/<str:customer_id>/orders/",
        views.CustomerOrders.as_view(),
        name="customer-order-list",
    ),
    path("stock/<sku:sku>/", stock_views.StockDetail.as_view(), name="stock-detail"),
]
