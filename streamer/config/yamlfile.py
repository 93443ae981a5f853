"""A config file: its data, and the line in which each key stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError

Key = tuple[str | int, ...]  # from the root: names of mappings, numbers in lists
Lines = dict[Key, int]
# What PyYAML raises for values that look like a date or a number and are none, and for what is nested too deep.
WRONG_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class GivenTwice(Exception):
    """A key of a mapping comes twice; YAML forbids it, and the parser would take the last."""


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in a YAML file, and where its keys are, counted from 1; ConfigError, also for a key that is given twice."""
    lines: Lines = {}
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        root = loader.get_single_node()
        _find(root, (), lines, set())  # before merge keys are resolved, which may repeat others
        data = loader.construct_document(root) or {} if root else {}
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        problem = re.sub("alias '.*'", "alias", exc.problem or "")  # a password that begins with "*" and is not in quotes
        raise ConfigError(f"{path}: line {line}: not YAML ({problem})") from exc
    except (yaml.YAMLError, *WRONG_VALUES) as exc:
        raise ConfigError(f"{path}: not YAML ({(str(exc) or type(exc).__name__).splitlines()[0]})") from exc
    except GivenTwice as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise ConfigError(f"{path}: a mapping of sections is expected, such as 'http:'")
    return data, lines


def line_of(key: Key, lines: Lines) -> int | None:
    """The line of `key`, or of the nearest mapping around it that the file has."""
    return next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), None)


def _find(node: yaml.Node | None, key: Key, lines: Lines, seen: set[int]) -> None:
    """Note the lines below `node`; GivenTwice where a key is. seen: nodes that an alias can name again."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for k, each in enumerate(node.value):
            lines[*key, k] = each.start_mark.line + 1
            _find(each, (*key, k), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner, line = (*key, str(name.value)), name.start_mark.line + 1
            if inner in lines:
                raise GivenTwice(
                    f"line {line}: {'.'.join(map(str, inner))}: given twice, first in line {lines[inner]}; "
                    "join the two, or take one out"
                )
            lines[inner] = line
            _find(value, inner, lines, seen)
