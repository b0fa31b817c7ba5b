"""What stands in a submitted notebook: its cells as plain Python, and what one function needs of them."""

from __future__ import annotations

import ast
import json
import re
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sslcourse.runtime.errors import CourseError

# ----------------------------------------------------------------------------------------- statements by name


def code_cells(data: bytes) -> list[str]:
    """The code cells of a notebook's bytes, formats 3 and 4. Raises CourseError for anything else."""
    try:
        notebook = json.loads(data)
        sheets = notebook.get("worksheets")
        cells = notebook["cells"] if sheets is None else [c for sheet in sheets for c in sheet["cells"]]
        sources = [c.get("source", c.get("input", "")) for c in cells if c["cell_type"] == "code"]
        return ["".join(s) if isinstance(s, list) else str(s) for s in sources]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CourseError(f"no notebook: {type(error).__name__}: {str(error)[:100]}") from None


def plain(cell: str) -> str:
    """A cell without what only IPython understands; its lines keep their numbers."""
    lines = cell.split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%"):
        if first.split()[0] not in ("%%time", "%%timeit", "%%capture"):
            return ""
        lines[lines.index(next(line for line in lines if line.strip()))] = ""
    for i, line in enumerate(lines):
        bare = line.strip()
        if (
            bare.startswith(("%", "!", "?"))
            or re.fullmatch(r"[\w.]+\?{1,2}", bare)
            or re.match(r"\s*[\w, ]+=\s*[%!]", line)
        ):
            lines[i] = line[: len(line) - len(line.lstrip())] + "pass"
    return "\n".join(lines)


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a cell: what it names, and which names it needs."""

    cell: int
    node: ast.stmt
    names: frozenset[str]
    needs: frozenset[str]


def statements(cells: Sequence[str]) -> tuple[list[Statement], dict[int, str]]:
    """All statements in order, and of the cells that are no Python what is wrong."""
    found, broken = [], {}
    for i, cell in enumerate(cells):
        try:
            tree = ast.parse(plain(cell))
            found += [
                Statement(i, node, *_names_and_needs(node))
                for line in tree.body
                for node in _one_by_one(line)
            ]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            broken[i] = (
                f"code cell {i + 1}, line {getattr(error, 'lineno', None) or '?'}: "
                f"{getattr(error, 'msg', None) or error}"
            )
    return found, broken


def _one_by_one(node: ast.stmt) -> list[ast.stmt]:
    """An import of several names as several imports: who needs one of them need not load the others."""
    if isinstance(node, ast.Import):
        return [ast.copy_location(ast.Import([a]), node) for a in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ast.copy_location(ast.ImportFrom(node.module, [a], node.level), node) for a in node.names]
    return [node]


def _names_and_needs(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """What a statement gives a value at the top level, and which global names it reads, also from inside
    functions.

    Python's own symbol table tells a function's variables from the globals of the same name.
    """
    top = symtable.symtable(ast.unparse(node), "statement", "exec")
    names = {
        s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    needs = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inside = list(top.get_children())
    while inside:
        scope = inside.pop()
        needs |= {s.get_name() for s in scope.get_symbols() if s.is_referenced() and s.is_global()}
        inside += scope.get_children()
    if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
        names.add("*")
    return frozenset(names | set(_changed(node))), frozenset(needs)


def _changed(node: ast.AST) -> Iterator[str]:
    """What a statement writes into at the top level: `table` in table["key"] = 1, `module` in module.name =
    2.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
        base: ast.expr = node
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        if isinstance(base, ast.Name):
            yield base.id
    for child in ast.iter_child_nodes(node):
        yield from _changed(child)


def needed(all_of_them: Sequence[Statement], function: str) -> list[Statement]:
    """The statements without which a function is not what it is in its notebook, in their order.

    A statement counts where it names something that is needed; `from x import *` may name anything.
    Assignments to parts of
    imported modules name the module and not the function, and a call that stands alone names nothing: neither
    runs."""
    is_import = lambda s: isinstance(s.node, (ast.Import, ast.ImportFrom))
    modules = {name for s in all_of_them if is_import(s) for name in s.names}
    gives = {
        id(s): s.names if is_import(s) else s.names - (set(_changed(s.node)) & modules) for s in all_of_them
    }
    wanted, before = {function, "*"}, -1
    chosen: set[int] = set()  # ids of statements
    while len(chosen) > before:
        before = len(chosen)
        for s in all_of_them:
            if id(s) not in chosen and gives[id(s)] & wanted:
                chosen.add(id(s))
                wanted |= s.needs
    return (
        [s for s in all_of_them if id(s) in chosen] if any(function in s.names for s in all_of_them) else []
    )


def texts(all_of_them: Sequence[Statement], variables: Sequence[str]) -> dict[str, str]:
    """Written answers: the last text that each variable is given, as it stands there."""
    found = dict.fromkeys(variables, "")
    for s in all_of_them:
        if (
            isinstance(s.node, ast.Assign)
            and isinstance(s.node.value, ast.Constant)
            and isinstance(s.node.value.value, str)
        ):
            for name in s.names & set(variables):
                found[name] = s.node.value.value.strip()
    return found
