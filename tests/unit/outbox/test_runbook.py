"""`docs/operations.md`: its commands can be given, its links lead somewhere, its alerts exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from django.core.management import load_command_class

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/operations.md").read_text()
HEADINGS = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
COMMANDS = re.findall(r"^ *\$ \./manage\.py (.+)$", TEXT, re.MULTILINE)
#: Commands in the text, as far as their names and options go.
MENTIONED = re.findall(r"`(?:manage )?(outbox_(?!discarded)[a-z_]+(?: [^`]+)?)`", TEXT)


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def parser(name):
    return load_command_class("outbox", name).create_parser("manage.py", name)


@pytest.mark.parametrize("command", sorted({*COMMANDS, *MENTIONED}))
def test_a_command_can_be_given_as_it_stands(command):
    name, *arguments = shlex.split(command)
    found = parser(name)
    if command in COMMANDS or arguments:
        found.parse_args(arguments)


def test_links_within_it_lead_somewhere():
    known = {anchor(heading) for heading in HEADINGS}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= known


def test_links_to_other_pages_lead_somewhere():
    for page, place in re.findall(r"\]\(([\w-]+\.md)(?:#([^)]+))?\)", TEXT):
        text = (ROOT / "docs" / page).read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not place or place in {anchor(heading) for heading in headings}


def test_every_alert_leads_to_where_it_is_dealt_with():
    [group] = yaml.safe_load((ROOT / "ops/prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        page, _, place = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operations.md"
        [heading] = [one for one in HEADINGS if anchor(one) == place]
        section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        assert rule["alert"] in re.search(r"\*Alerts?: ([^*]+)\*", section)[1]
