"""Code to be read in a lesson: the idea alone, cut out of the code that runs.

What guards, mixed precision and several processes need stands in the file for good reasons, and hides the
idea. It is left out here by rule, from the real code, so that what is shown can never be another method.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable

from sslcourse.runtime.errors import CourseError

_OURS = {"explained", "takes"}  # decorators that hold arguments to what they may be
_GATHERING = {"gather"}  # the same on every process
_INLINE = (  # the same in one process and in single precision
    (re.compile(r"\bat_least_float32\(((?:[^()]|\([^()]*\))*)\)"), r"\1"),
    (re.compile(r"\bdistributed\.parallel\((\w+)\)"), r"\1"),
)


def source(*parts: Callable) -> None:
    """Print the code of functions, methods or classes without what guards it.

    Left out are: refusals of bad arguments (`if ...: raise`), the decorators that do the same, `autocast`
    and the gathering of features from other processes. All else stands as in the file, comments too.

    Raises:
        CourseError: there is no source of a part, as of what is built into Python.
    """
    print("\n".join(idea(part) for part in parts), end="")


def idea(part: Callable) -> str:
    """The text that `source` prints of one part."""
    try:
        text = textwrap.dedent(inspect.getsource(inspect.unwrap(part)))
    except (OSError, TypeError):
        raise CourseError(
            f"{getattr(part, '__name__', part)!r} has no source to be read; pass a function, a method or a "
            "class of the course or of your own file"
        ) from None
    lines = text.splitlines()
    dropped: set[int] = set()
    inward: set[int] = set()  # lines that stand one level too deep once their `with` is gone
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(called, ast.Name) and called.id in _OURS:
                    dropped |= _lines(decorator)
        elif isinstance(node, ast.stmt) and (_refuses(node) or _gathers(node)):
            dropped |= _lines(node)
        elif isinstance(node, ast.With) and _casts(node):
            dropped |= set(range(node.lineno, node.body[0].lineno))
            inward |= set(range(node.body[0].lineno, _end(node) + 1))
    kept = []
    for number, line in enumerate(lines, 1):
        if number in dropped:
            continue
        for pattern, by in _INLINE:
            line = pattern.sub(by, line)
        kept.append(line.removeprefix("    ") if number in inward else line)
    return "\n".join(kept) + "\n"


def _end(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno


def _lines(node: ast.stmt | ast.expr) -> set[int]:
    return set(range(node.lineno, _end(node) + 1))


def _refuses(node: ast.stmt) -> bool:
    """if ...: raise CourseError(...), and nothing else."""
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and all(isinstance(statement, ast.Raise) for statement in node.body)
    )


def _gathers(node: ast.stmt) -> bool:
    """x = gather(x), also of several at once: with one process it is x = x."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    target, value = node.targets[0], node.value
    pairs = (
        list(zip(target.elts, value.elts))
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        else [(target, value)]
    )
    return bool(pairs) and all(
        isinstance(right, ast.Call)
        and isinstance(right.func, ast.Name)
        and right.func.id in _GATHERING
        and len(right.args) == 1
        and ast.unparse(right.args[0]) == ast.unparse(left)
        for left, right in pairs
    )


def _casts(node: ast.With) -> bool:
    return len(node.items) == 1 and "autocast" in ast.unparse(node.items[0].context_expr)
