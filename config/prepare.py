"""Prepares the databases for `serve`: migrations, products, a staff user with a token."""

import os

import django


def main() -> None:
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    call_command("orders_seed_catalogue")
    user = User.objects.create_superuser("demo", password=os.environ["DEMO_PASSWORD"])
    Token.objects.create(user=user, key=os.environ["OUTBOX_API_TOKEN"])


if __name__ == "__main__":
    main()
