# ruff: noqa: RUF012
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("key", models.CharField(max_length=1000, primary_key=True, serialize=False)),
                ("subscriber", models.CharField(max_length=255)),
                ("state", models.CharField(max_length=255)),
                ("topic", models.CharField(max_length=255)),
                ("stream", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=255)),
                ("aggregate_id", models.CharField(max_length=255)),
                ("sequence", models.PositiveBigIntegerField(null=True)),
                ("text", models.TextField()),
                ("error", models.TextField()),
                ("error_type", models.CharField(max_length=255)),
                ("traceback", models.TextField()),
                ("attempts", models.PositiveIntegerField()),
                ("first_failed_at", models.DateTimeField()),
                ("failed_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                ("closed_by", models.CharField(max_length=255)),
                ("reason", models.TextField()),
            ],
            options={
                "verbose_name": "dead letter",
                "managed": False,
                "default_permissions": ("view", "replay", "discard"),
            },
        ),
        migrations.CreateModel(
            name="Overview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "overview",
                "verbose_name_plural": "overview",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.AlterModelOptions(
            name="dispatchedmessage",
            options={
                "default_permissions": ("view", "replay"),
                "managed": False,
                "verbose_name": "dispatched message",
            },
        ),
        migrations.AlterModelOptions(
            name="pendingmessage",
            options={
                "default_permissions": ("view", "retry", "discard"),
                "managed": False,
                "verbose_name": "pending message",
            },
        ),
    ]
