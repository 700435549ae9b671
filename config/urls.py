"""Routes: the admin, the API and its documentation. Below `/api/`, every error is a problem."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from outbox.api.error_views import error_views, not_found

# A page: it can't render the answer to OPTIONS.
docs = SpectacularSwaggerView.as_view(url_name="schema", http_method_names=["get", "head"])

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("orders.urls")),
    path("api/outbox/", include("outbox.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", docs, name="docs"),
    re_path("^api/", not_found),
    path("", include("outbox.urls")),
]

handler400, handler404, handler500 = error_views("/api/")
