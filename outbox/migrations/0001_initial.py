# ruff: noqa: RUF012
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DispatchedMessage",
            fields=[
                ("type", models.CharField(max_length=255)),
                ("version", models.CharField(max_length=255)),
                ("topic", models.CharField(max_length=255)),
                ("collection", models.CharField(max_length=255)),
                ("aggregate_id", models.CharField(max_length=255)),
                ("sequence", models.PositiveBigIntegerField()),
                ("occurred_at", models.DateTimeField()),
                ("payload", models.TextField()),
                ("metadata", models.JSONField()),
                ("event_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("dispatched_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "dispatched message",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="PendingMessage",
            fields=[
                ("event_id", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=255)),
                ("version", models.CharField(max_length=255)),
                ("topic", models.CharField(max_length=255)),
                ("collection", models.CharField(max_length=255)),
                ("aggregate_id", models.CharField(max_length=255)),
                ("sequence", models.PositiveBigIntegerField()),
                ("occurred_at", models.DateTimeField()),
                ("payload", models.TextField()),
                ("metadata", models.JSONField()),
                ("key", models.CharField(max_length=1000, primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("attempts", models.PositiveIntegerField()),
                ("last_error", models.TextField()),
            ],
            options={
                "verbose_name": "pending message",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
