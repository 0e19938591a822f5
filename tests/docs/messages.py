"""The texts that a program shows: what it logs and prints, and the help of its options, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOGGERS = frozenset({"log", "_log", "logger"})
SHOWING = frozenset({"say", "_say", "print", "note"})
HELPED = frozenset({"Argument", "Option", "Typer", "Verb", "add_argument"})


class Text(NamedTuple):
    """One text and where it begins."""

    line: int
    text: str


def messages(path: Path) -> Iterator[Text]:
    """Of one module: logged, printed, and the help of options."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and _is_shown(node.func):
            yield from _texts([*node.args, *(one.value for one in node.keywords if one.arg == "help")])


def settings_help(path: Path) -> Iterator[Text]:
    """The docstrings of a module's classes and of their fields, which are the help of options."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            yield from _texts([one.value for one in node.body if isinstance(one, ast.Expr)])


def command_help(path: Path) -> Iterator[Text]:
    """The docstrings of a module's public functions: the help of commands."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield Text(node.lineno, ast.get_docstring(node) or "")


def _is_shown(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in SHOWING | HELPED
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    return function.attr in SHOWING | HELPED or (isinstance(owner, ast.Name) and owner.id in LOGGERS)


def _texts(expressions: list[ast.expr]) -> Iterator[Text]:
    for expression in expressions:
        for node in ast.walk(expression):
            if isinstance(node, ast.JoinedStr):
                yield Text(
                    node.lineno,
                    "".join(part.value if isinstance(part, ast.Constant) else "_" for part in node.values),
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield Text(node.lineno, node.value)
