"""The outbox as a check of django-health-check's (4.x), beside a project's other checks.

HealthCheckView.as_view(checks=[…, "outbox.contrib.health_check.Outbox"])
"""

from dataclasses import dataclass

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from outbox import health


@dataclass
class Outbox(HealthCheck):  # type: ignore[misc]
    """Fails while the outbox is bad by `OUTBOX_THRESHOLDS`, and names the problems' codes.

    Not for a readiness probe: that would take every web server out of service over a dead letter.
    """

    def run(self) -> None:
        # Not a coroutine: django-health-check calls it in a thread.
        level, codes = health.condition()
        if level == "bad":
            raise ServiceUnavailable(", ".join(codes))
