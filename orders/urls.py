"""Routes of orders, below `/api/`."""

from django.urls import path

from orders import views

urlpatterns = [
    path("orders/", views.Orders.as_view(), name="order-list"),
    path("orders/<str:order_id>/", views.OrderDetail.as_view(), name="order-detail"),
    path("orders/<str:order_id>/items/", views.OrderItems.as_view(), name="order-items"),
    path("orders/<str:order_id>/pay/", views.OrderPay.as_view(), name="order-pay"),
    path("orders/<str:order_id>/ship/", views.OrderShip.as_view(), name="order-ship"),
    path("orders/<str:order_id>/cancel/", views.OrderCancel.as_view(), name="order-cancel"),
]
