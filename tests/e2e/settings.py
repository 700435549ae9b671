"""The project's settings, with leases that end sooner: the tests wait for many of them."""

from config.settings import *  # noqa: F403

OUTBOX_LEASE = 2.0
