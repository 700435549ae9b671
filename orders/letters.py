"""Letters: a customer is written to when an order has been shipped.

`ORDERS_CUSTOMER_ADDRESS` says where customers are reached, and stands in for a directory of them:
a template with `{customer_id}`, which is escaped to what an address may have before its `@`.
"""

import re
import smtplib
from email.utils import parseaddr
from hashlib import sha256
from urllib.parse import quote

from django.conf import settings
from django.core.mail import EmailMessage

from orders.integration_events import OrderShipped
from outbox import OutboxError
from outbox.delivery import Delivery

CUSTOMER_ADDRESS = "{customer_id}@customers.example.com"
#: What an address's local part can't have, or mail servers refuse; and `=`, which escapes it.
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|^\.|\.(?=\.|$)")
LOCAL_PART = 64

TEXT = """\
Your order {order_id} is on its way.

{items}

Carrier: {carrier}
Tracking number: {tracking_number}
"""


class LetterRefused(OutboxError):
    """The mail server refuses this letter."""


def order_shipped(event: OrderShipped, delivery: Delivery) -> None:
    """Send the confirmation. Sent again, it has the same `Message-ID`.

    Raises `LetterRefused` where the server may take others but not this one, and an `OSError` (as
    all of smtplib's are) where it can't be reached or takes none.
    """
    order_id = quote(event.order_id)
    items = (f"{item.quantity} x {item.name or item.sku}" for item in event.items)
    letter = EmailMessage(
        subject=f"Your order {order_id} has been shipped",
        body=TEXT.format(
            order_id=event.order_id,
            items="\n".join(items),
            carrier=event.carrier,
            tracking_number=event.tracking_number,
        ),
        to=[address_of(event.customer_id)],
        # Quoted: nothing that comes off a stream ends a header and begins another.
        headers={"Message-ID": f"<{quote(delivery.event_id)}@{_host()}>", "X-Order-ID": order_id},
    )
    try:
        letter.send()
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as no:
        # Its words, and its exception, have the customer's address; this ends up in logs.
        raise LetterRefused(f"The mail server refuses this letter: {_codes(no)}") from None


def address_of(customer_id: str) -> str:
    """The address of a customer: a valid one whatever the id, and different for different ids."""
    local = UNSAFE.sub(lambda found: "".join(f"={b:02X}" for b in found[0].encode()), customer_id)
    if not 0 < len(local) <= LOCAL_PART:
        local = sha256(customer_id.encode()).hexdigest()
    template: str = getattr(settings, "ORDERS_CUSTOMER_ADDRESS", CUSTOMER_ADDRESS)
    return template.format(customer_id=local)


def _codes(refusal: smtplib.SMTPException) -> str:
    if isinstance(refusal, smtplib.SMTPRecipientsRefused):
        return ", ".join(sorted({str(code) for code, _ in refusal.recipients.values()}))
    return str(getattr(refusal, "smtp_code", "no code"))


def _host() -> str:
    return parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
