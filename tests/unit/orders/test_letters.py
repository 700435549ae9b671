"""The letter to the customer: what it says, to whom, and that nothing gets into its headers."""

import smtplib
import traceback
from datetime import UTC, datetime
from email import message_from_bytes

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from orders import letters, messaging
from orders.integration_events import OrderShipped, ShippedItem
from outbox.delivery import Delivery

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
ITEMS = (
    ShippedItem(sku="WIDGET-01", quantity=2, name="Widget, small"),
    ShippedItem(sku="GADGET-01", quantity=1, name=None),
)


def send(event_id="0197-e", **changes):
    fields = {
        "order_id": "o-1",
        "customer_id": "cust-789",
        "items": ITEMS,
        "carrier": "DHL",
        "tracking_number": "0034",
    }
    delivery = Delivery(event_id, "OrderShipped", "1.0", "orders", "o-1", 1, AT, {}, {}, "")
    letters.order_shipped(OrderShipped(**fields | changes), delivery)


def test_a_letter_says_what_is_on_its_way_and_how(settings):
    settings.DEFAULT_FROM_EMAIL = "Orders <orders@shop.example>"

    send()

    (letter,) = mail.outbox
    assert (letter.to, letter.cc, letter.bcc) == (["cust-789@customers.example.com"], [], [])
    assert letter.from_email == "Orders <orders@shop.example>"
    assert letter.subject == "Your order o-1 has been shipped"
    assert letter.body == (
        "Your order o-1 is on its way.\n\n"
        "2 x Widget, small\n1 x GADGET-01\n\n"
        "Carrier: DHL\nTracking number: 0034\n"
    )
    sent = letter.message()
    assert sent["Message-ID"] == "<0197-e@shop.example>"
    assert sent["X-Order-ID"] == "o-1"
    assert sent.get_content_type() == "text/plain"


def test_a_letter_that_is_sent_again_has_the_same_id():
    send("e-1")
    send("e-1")
    send("e-2")

    first, again, other = [letter.message()["Message-ID"] for letter in mail.outbox]
    assert first == again != other


def test_a_setting_says_where_customers_are_reached(settings):
    settings.ORDERS_CUSTOMER_ADDRESS = "shop+{customer_id}@example.org"

    send()

    assert mail.outbox[0].to == ["shop+cust-789@example.org"]


EVIL = "x\r\nBcc: all@example.com\n\nHello"


@pytest.mark.parametrize(
    "field", ["order_id", "customer_id", "carrier", "tracking_number", "event_id"]
)
def test_nothing_that_comes_off_a_stream_becomes_a_header(field):
    send()
    send(**{field: EVIL})

    usual, letter = [message_from_bytes(sent.message().as_bytes()) for sent in mail.outbox]
    assert letter.keys() == usual.keys()
    assert len(mail.outbox[1].recipients()) == 1


IDS = [
    "a.b", "a..b", "a.", "A", "a@evil.example", "a,b@c", "a;b", 'a"b', "a<b>", "a\\b", "a%b", "a=b",
    "a=2Eb", "a(b)", "a:b", "a!b", "a" * 64, "a" * 65, "@" * 64, ".", "", "é", "a b", "a\n",
    "a\0", "{customer_id}",
]  # fmt: skip


@pytest.mark.parametrize("customer_id", IDS)
def test_any_customer_has_one_valid_address(customer_id):
    address = letters.address_of(customer_id)

    validate_email(address)
    local, _, domain = address.partition("@")
    assert (0 < len(local) <= 64, domain) == (True, "customers.example.com")
    assert not set(local) & set("%!|")


def test_no_two_customers_have_one_address():
    assert len({letters.address_of(customer_id) for customer_id in IDS}) == len(IDS)


REFUSALS = [
    smtplib.SMTPRecipientsRefused({"a@b": (550, b"no such user")}),
    smtplib.SMTPSenderRefused(552, b"too large", "a@b"),
    smtplib.SMTPDataError(554, b"spam"),
]
AWAY = [
    ConnectionRefusedError(),
    TimeoutError(),
    OSError(113, "No route to host"),
    smtplib.SMTPServerDisconnected(),
    smtplib.SMTPConnectError(421, b"busy"),
    smtplib.SMTPAuthenticationError(535, b"no"),
]


@pytest.mark.parametrize("error", [*REFUSALS, *AWAY], ids=lambda error: type(error).__name__)
def test_a_letter_that_is_refused_is_told_from_a_server_that_is_away(monkeypatch, error):
    """Or one letter that can't be delivered would stop all that come after it."""

    def fail(self):
        raise error

    monkeypatch.setattr(EmailMessage, "send", fail)
    (subscriber,) = [s for s in messaging.subscribes if s.name == "letters"]

    with pytest.raises(letters.LetterRefused if error in REFUSALS else OSError) as raised:
        send()
    assert isinstance(raised.value, subscriber.unavailable) is (error in AWAY)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_refusal_tells_the_servers_codes_and_nobodys_address(monkeypatch, error):
    """It is logged, and kept with the dead letter."""

    def fail(self):
        raise error

    monkeypatch.setattr(EmailMessage, "send", fail)

    with pytest.raises(letters.LetterRefused, match=r": 55[024]$") as raised:
        send()
    assert "a@b" not in "".join(traceback.format_exception(raised.value))
