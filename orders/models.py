"""Models without tables: what the admin hangs the pages of orders, and their permission, on."""

from django.db import models


class Order(models.Model):
    """An order as its document has it (see `repository`)."""

    order_id = models.CharField("order id", max_length=255, primary_key=True)
    customer_id = models.CharField("customer", max_length=255)
    status = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    total = models.DecimalField(max_digits=11, decimal_places=2)
    placed_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"order {self.order_id}"
