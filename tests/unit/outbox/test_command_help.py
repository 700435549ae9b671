"""The `--help` of every command ends with examples, and these can be given as they stand."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import load_command_class

import outbox.management.commands

COMMANDS = sorted(
    path.stem for path in Path(outbox.management.commands.__file__).parent.glob("outbox_*.py")
)


def parser(name):
    return load_command_class("outbox", name).create_parser("manage.py", name)


def helps(name):
    """The help of a command, and of its actions."""
    found = parser(name)
    yield found.format_help()
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (one.format_help() for one in action.choices.values())


def examples(text):
    """The last paragraph's lines, each with a command."""
    title, *lines = text.rstrip().split("\n\n")[-1].splitlines()
    assert title == ("Example:" if len(lines) == 1 else "Examples:")
    return [re.split(r" \|+ ", line)[0].strip() for line in lines]


def test_the_commands_are_known():
    assert {"outbox_status", "outbox_tail", "outbox_dead_letters"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_work(name):
    for text in helps(name):
        for example in examples(text):
            program, command, *arguments = shlex.split(example)
            assert (program, command) == ("manage.py", name)
            parser(name).parse_args(arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for text in helps(name):
        assert max(map(len, text.splitlines())) <= 80
