"""Reporting: what Django's error reports and debug pages say of the settings."""

import re

from django.views.debug import SafeExceptionReporterFilter


class WithoutAddresses(SafeExceptionReporterFilter):
    """Hides the servers' addresses too: there may be passwords in them."""

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|URI|URL|BROKER", re.IGNORECASE
    )
