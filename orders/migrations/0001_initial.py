# ruff: noqa: RUF012
from django.db import migrations, models


class Migration(migrations.Migration):
    """No table: permissions and pages hang on it (see `orders.models`)."""

    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "order_id",
                    models.CharField(
                        max_length=255,
                        primary_key=True,
                        serialize=False,
                        verbose_name="order id",
                    ),
                ),
                ("customer_id", models.CharField(max_length=255, verbose_name="customer")),
                ("status", models.CharField(max_length=20)),
                ("currency", models.CharField(max_length=3)),
                ("total", models.DecimalField(decimal_places=2, max_digits=11)),
                ("placed_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={"managed": False, "default_permissions": ("view",)},
        ),
    ]
