"""Access: whose orders a request may see, place and change.

Staff act for all customers, anybody else for one. Which one is an attribute of the user:
`ORDERS_CUSTOMER_ID_ATTRIBUTE`, a dotted path such as "profile.customer_id". What belongs to others
is answered as if there were none of it.
"""

from operator import attrgetter
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from orders import queries
from outbox.api.permissions import is_opened

CUSTOMER_ID_ATTRIBUTE = "username"
#: The customer of a user who has none: no order is of this one (see `commands.PlaceOrder`).
NOBODY = ""


def customer_of(request: Request) -> str | None:
    """The id of the customer that the request may act for; None if it may for all of them.

    It may for all if it is staff's, or if `ANONYMOUS_ACCESS` opens the view, which is for trials.
    """
    if request.user.is_staff or is_opened(request):
        return None
    path = getattr(settings, "ORDERS_CUSTOMER_ID_ATTRIBUTE", CUSTOMER_ID_ATTRIBUTE)
    try:
        found = attrgetter(path)(request.user)
    except (AttributeError, ObjectDoesNotExist):
        return NOBODY
    return NOBODY if found is None else str(found)


class CustomersView(APIView):
    """The base of all views of orders: lets a request go on only to what is its customer's.

    `acts_for` is the customer, None for all. An `order_id` or `customer_id` in the path has been
    checked before a method of the view runs, and before the body or any header of the request is
    looked at, so that no answer tells others' orders from those that don't exist. Once is enough:
    an order never changes hands.
    """

    acts_for: str | None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.acts_for = customer_of(request)
        if self.acts_for is None:
            return
        if kwargs.get("customer_id", self.acts_for) != self.acts_for:
            raise NotFound()
        if "order_id" in kwargs:
            queries.raise_unless_of(self.acts_for, kwargs["order_id"])

    def raise_unless_for(self, customer_id: str) -> None:
        """Raise `PermissionDenied` if the request may not act for this customer."""
        if self.acts_for not in (None, customer_id):
            raise PermissionDenied("Orders can be placed for oneself only.")
