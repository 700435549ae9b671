# ruff: noqa: RUF012
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0002_operations"),
    ]

    operations = [
        migrations.CreateModel(
            name="WaitingEvent",
            fields=[
                ("key", models.CharField(max_length=1000, primary_key=True, serialize=False)),
                ("subscriber", models.CharField(max_length=255)),
                ("topic", models.CharField(max_length=255)),
                ("stream", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=255)),
                ("aggregate_id", models.CharField(max_length=255)),
                ("sequence", models.PositiveBigIntegerField()),
                ("text", models.TextField()),
                ("attempts", models.PositiveIntegerField()),
                ("due_at", models.DateTimeField()),
                ("since", models.DateTimeField()),
            ],
            options={
                "verbose_name": "waiting event",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
