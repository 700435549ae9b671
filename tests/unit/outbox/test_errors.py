import inspect
import re

from outbox import errors


def test_an_exception_without_arguments_explains_itself():
    assert str(errors.AggregateNotFound()) == "No aggregate with this id is stored."
    assert str(errors.AggregateNotFound("o1")) == "o1"


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = {}
    path = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"^((?:[│ ]   )*)(?:├── |└── )?([A-Z]\w+)(?:\s|$)", line):
            if not re.match(r"^(OutboxError$|[│├└])", line):
                continue
            depth = 0 if line.startswith("OutboxError") else len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else None
    classes = {
        name: None if cls is errors.OutboxError else cls.__bases__[0].__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if cls.__module__ == errors.__name__
    }
    assert drawn == classes
