"""Discovery of the tables; what an app's own tests show of it is not repeated here."""

from types import SimpleNamespace

import pytest

from outbox import Upcaster, discovery
from outbox.discovery import Messaging
from outbox.errors import MessagingError
from tests.notes import NoteRead, NoteWritten


def gathered(**modules):
    found = Messaging()
    for name, tables in modules.items():
        discovery._add(found, SimpleNamespace(__name__=f"{name}.messaging", **tables))
    return found


def upcaster(from_version, to_version, type="Sold"):
    return Upcaster(type, from_version, to_version, dict)


def test_the_upcasters_of_all_apps_are_gathered():
    rows = [upcaster("1.0", "2.0"), upcaster("2.0", "3.0"), upcaster("1.0", "2.0", "Other")]
    assert gathered(a={"upcasts": rows[:1]}, b={"upcasts": rows[1:]}).upcasts == rows


def test_two_upcasters_of_one_version_are_refused():
    row = upcaster("1.0", "2.0")
    with pytest.raises(MessagingError, match=r"Two upcasters .* Sold of version 1\.0"):
        gathered(a={"upcasts": [row]}, b={"upcasts": [upcaster("1.0", "3.0")]})


def test_upcasters_that_lead_in_a_circle_are_refused():
    with pytest.raises(MessagingError, match="circle"):
        gathered(
            a={"upcasts": [upcaster("1.0", "2.0")]},
            b={"upcasts": [upcaster("3.0", "1.0"), upcaster("2.0", "3.0")]},
        )


def test_the_events_with_handlers_within_are_known_with_the_module_that_declares_them():
    found = gathered(a={"within": {NoteWritten: print}}, b={"within": {NoteRead: [print]}})
    assert found.within == {NoteWritten: "a.messaging", NoteRead: "b.messaging"}
