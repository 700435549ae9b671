"""Puts a few products into the catalogue, so that `OrderShipped` has names to show."""

from typing import Any

from django.core.management.base import BaseCommand

from orders.catalogue import Catalogue

PRODUCTS = {
    "WIDGET-01": "Widget, small",
    "WIDGET-02": "Widget, large",
    "GADGET-01": "Gadget",
    "GIZMO-01": "Gizmo, blue",
    "SPROCKET-01": "Sprocket, 12 teeth",
}


class Command(BaseCommand):
    help = "Put a few products into the catalogue. Can be run again."

    def handle(self, *args: Any, **options: Any) -> None:
        catalogue = Catalogue()
        for sku, name in PRODUCTS.items():
            catalogue.put(sku, name)
        self.stdout.write(f"{len(PRODUCTS)} products are in the catalogue.")
