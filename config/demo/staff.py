"""The staff: they say how much there is of some products before the customers come."""

from collections.abc import Mapping

import httpx

#: Of these there is so much on hand; the others' stock isn't managed. The last runs out.
ON_HAND: Mapping[str, int] = {"GADGET-01": 1000, "GIZMO-01": 1000, "SPROCKET-01": 60}


def set_stock(url: str, token: str, on_hand: Mapping[str, int]) -> dict[str, int]:
    """Set what there is on hand of these, by sku; how many units of each there are then in all."""
    units = {}
    with httpx.Client(headers={"Authorization": f"Token {token}"}, timeout=15) as client:
        for sku, number in on_hand.items():
            answer = client.put(f"{url}/api/stock/{sku}/", json={"on_hand": number})
            stock = answer.raise_for_status().json()
            units[sku] = stock["on_hand"] + stock["reserved"] + stock["shipped"]
    return units
