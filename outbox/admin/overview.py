"""The admin's first page: how the outbox is, in one look, and where to go when something is wrong.

Read anew with each request, at a cost that doesn't grow with the collections. A small script
fetches the changing part every few seconds; without scripts, there is a link.
"""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse

from outbox import diagnosis, monitoring
from outbox.admin import history_charts
from outbox.admin.figures import LISTS, figures, link, with_commands
from outbox.admin.overview_tables import tables
from outbox.admin.read_only import ReadOnlyAdmin
from outbox.admin.refused import unless_refused
from outbox.admin.unavailable import unless_unavailable

#: Seconds between two looks of the page at how it is.
EVERY = 5


class OverviewAdmin(ReadOnlyAdmin):
    """One page where others have a list. Whoever may see no list isn't led to it."""

    class Media:
        css = {"all": ("outbox/admin.css", "outbox/overview.css")}  # noqa: RUF012
        js = ("outbox/overview.js",)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="outbox_overview_changelist"),
            path("fragment/", view(self.fragment_view), name="outbox_overview_fragment"),
        ]

    @unless_refused
    @unless_unavailable
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            **self._state(request),
            "title": "Overview",
            "opts": self.opts,
            "media": self.media,
            "every": EVERY,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/outbox/overview.html", context)

    @unless_unavailable
    def fragment_view(self, request: HttpRequest) -> HttpResponse:
        """The part of the page that changes, for the script."""
        context = self._state(request)
        return TemplateResponse(request, "admin/outbox/overview_fragment.html", context)

    def _state(self, request: HttpRequest) -> dict[str, Any]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        state = monitoring.overview()
        problems = diagnosis.problems(state)
        addresses = self._addresses(request)
        return {
            "state": state,
            "level": diagnosis.level(problems),
            "problems": [
                {
                    "level": one.level,
                    "text": one.text,
                    "detail": one.detail if "waitingevent" in addresses else "",
                    "advice": with_commands(one.advice),
                    "link": link(one, addresses),
                }
                for one in problems
            ],
            "figures": figures(state, problems, addresses),
            "charts": history_charts.of(state.at),
            "as_of": f"{state.at:%Y-%m-%d %H:%M:%S} UTC",
            **tables(state, addresses),
        }

    def _addresses(self, request: HttpRequest) -> dict[str, str]:
        """The addresses of the lists that this user may see."""
        return {
            name: reverse(f"admin:outbox_{name}_changelist", current_app=self.admin_site.name)
            for name in LISTS
            if request.user.has_perm(f"outbox.view_{name}")
        }
