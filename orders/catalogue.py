"""The product catalogue: what a sku is called. Collection `products`: {_id: sku, name}."""

from collections.abc import Iterable, Mapping

from outbox import connections

COLLECTION = "products"


class Catalogue:
    """The catalogue's products. Raises `StoreUnavailable` when MongoDB can't answer."""

    def names(self, skus: Iterable[str]) -> Mapping[str, str]:
        """The names of those products that are in the catalogue, by sku: one query."""
        wanted = {"_id": {"$in": sorted(set(skus))}}
        with connections.store_errors():
            found = connections.database()[COLLECTION].find(wanted, {"name": 1})
            return {product["_id"]: product["name"] for product in found}

    def put(self, sku: str, name: str) -> None:
        """Add a product, or give it another name."""
        with connections.store_errors():
            connections.database()[COLLECTION].update_one(
                {"_id": sku}, {"$set": {"name": name}}, upsert=True
            )
