"""Schemathesis: the API, driven from its own OpenAPI document, does what that document says.

No 5xx, no status, media type, header or field that isn't documented, what is refused by the schema
is refused, what isn't is taken. `SCHEMATHESIS_CASES=1000` for a long run: so many a way and an
operation, and others each time.
"""

import json
import os
from collections import defaultdict
from zlib import crc32

import pytest
import schemathesis
from django.contrib.auth.models import Permission, User
from django.core.wsgi import get_wsgi_application
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from rest_framework.authtoken.models import Token
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from outbox import pending
from tests.integration.orders.client import ORDER, as_staff

CASES = os.environ.get("SCHEMATHESIS_CASES")
SETTINGS = settings(
    max_examples=int(CASES or 8),
    deadline=None,
    database=None,
    derandomize=not CASES,
    suppress_health_check=list(HealthCheck),
)

REFUSALS = ["2xx", "304", "403", "404", "409", "412", "422"]


#: What the schema doesn't allow is refused; what is too long, before it is looked at.
REFUSED = ["400", "401", "403", "404", "406", "409", "413", "415", "422"]


def accepted(*more):
    return {
        "positive_data_acceptance": {"expected-statuses": [*REFUSALS, *more]},
        "negative_data_rejection": {"expected-statuses": REFUSED},
    }


CONFIG = SchemathesisConfig.from_dict(
    {
        # A rule, a version or somebody else's order may be in the way of what the schema allows;
        "checks": accepted(),
        "operations": [
            # and of what a cursor is made of, it says nothing.
            {
                "include-operation-id": [
                    *("list_orders", "list_customer_orders"),
                    *("list_pending_messages", "list_dispatched_messages", "list_dead_letters"),
                    "list_waiting_events",
                ],
                "checks": accepted(400),
            }
        ],
        "generation": {"database": "none"},
    }
)


def load():
    document = SchemaGenerator().get_schema(request=None, public=True)
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document)), config=CONFIG)
    schema.app = get_wsgi_application()
    return schema


API = load()
answers = defaultdict(list)


@pytest.fixture(params=["staff", "customer"])
def who(request):
    return request.param


@pytest.fixture
def credentials(db, mongo, who):
    user = User.objects.create_user("ann", is_staff=who == "staff")
    # A customer has them in vain.
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="outbox"))
    return {"Authorization": f"Token {Token.objects.create(user=user).key}"}


def made_real(case):
    """Let half of the cases be about what there is: an order, its message, one's own things."""
    parameters, body = case.path_parameters or {}, case.body
    if crc32(json.dumps([case.method, parameters, repr(body)]).encode()) % 2:
        return
    valid = {where for where, part in case.meta.components.items() if part.mode.is_positive}
    if ParameterLocation.PATH in valid and "order_id" in parameters:
        placed = as_staff(1).place(ORDER | {"customer_id": "ann"})
        parameters["order_id"] = placed.json()["order_id"]
    if ParameterLocation.PATH in valid and "customer_id" in parameters:
        parameters["customer_id"] = "ann"
    if ParameterLocation.BODY in valid and "customer_id" in body:
        body["customer_id"] = "ann"
    if "/outbox/pending/" in case.path:
        as_staff(1).placed()
        waiting = [one.key for one in pending.messages().messages]
        if ParameterLocation.PATH in valid and "id" in parameters:
            parameters["id"] = waiting[0]
        if ParameterLocation.BODY in valid and "ids" in body:
            body["ids"] = waiting


def not_to_check(case, who):
    """What would be held against the API, and isn't its fault."""
    if who == "customer":
        # To a customer, an order that isn't there isn't there for any method.
        yield unsupported_method
    if str((case.headers or {}).get("If-Match", "*")).isdecimal():
        # One of the ways to valid headers loses the quotes in their pattern, and sends 0 for `"0"`.
        yield positive_data_acceptance


@API.parametrize()
@SETTINGS
def test_every_operation_is_as_its_document_says(case, credentials, who):
    made_real(case)
    answers[who, case.operation.label].append(
        case.call_and_validate(
            headers=credentials, excluded_checks=list(not_to_check(case, who))
        ).status_code
    )
