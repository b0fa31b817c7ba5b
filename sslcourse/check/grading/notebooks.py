"""What stands in a submitted notebook: its cells as plain Python, and what one function needs of them."""

from __future__ import annotations
import __future__

import ast
import contextlib
import functools
import inspect
import json
import re
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sslcourse.runtime.errors import CourseError

# ----------------------------------------------------------------------------------------- cells as Python


def code_cells(data: bytes) -> list[str]:
    """The code cells of a notebook's bytes, formats 3 and 4. Raises CourseError for anything else."""
    try:
        notebook = json.loads(data)
        sheets = notebook.get("worksheets")
        cells = notebook["cells"] if sheets is None else [c for sheet in sheets for c in sheet["cells"]]
        sources = [c.get("source", c.get("input")) for c in cells if c.get("cell_type") == "code"]
        return ["".join(map(str, s)) if isinstance(s, list) else str(s or "") for s in sources]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CourseError(f"no notebook: {type(error).__name__}: {str(error)[:100]}") from None


# What stands below these is no Python, or Python that runs elsewhere; below all others it is.
OTHER_LANGUAGES = frozenset(
    "! bash cmd cython file html javascript js latex markdown perl pypy python python2 python3 R ruby script "
    "sh sql svg sx system writefile".split()
)
RUN_THEIR_LINE = ("time", "prun", "memit")  # line magics that run the Python behind them in the notebook


@functools.cache
def _transformer():
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager()


def plain(cell: str) -> str:
    """A cell as the Python that IPython makes of it. Its lines keep their numbers, unless a command goes
    over several.

    Magics and commands to the shell become calls of `get_ipython()`. A cell magic that runs its cell as
    Python is left out, what it runs is not; a cell in another language becomes empty."""
    text, above = cell.replace("\r\n", "\n").replace("\r", "\n"), 0
    while True:
        bare = text.lstrip("\n \t") if text.lstrip().startswith("%%") else text.lstrip("\n")
        above += text[: len(text) - len(bare)].count("\n")
        magic = re.match(r"%%(!|[\w.]*)[^\n]*(\n|$)", bare)
        if magic is None:
            break
        if magic[1] in OTHER_LANGUAGES:
            return ""
        text, above = bare[magic.end() :], above + 1
    return "\n" * above + _transformer().transform_cell(bare)


def files(cells: Sequence[str]) -> dict[str, str]:
    """What cells with `%%writefile` write, by the file's name; only into the notebook's own folder."""
    found: dict[str, str] = {}
    for cell in cells:
        magic = re.match(r"\s*%%(?:writefile|file)[ \t]+(-a[ \t]+)?([^\n]+)\n", cell)
        name = magic[2].strip().strip("'\"") if magic else ""
        if magic and re.fullmatch(r"[\w-][\w.-]*", name):
            found[name] = (found.get(name, "") if magic[1] else "") + cell[magic.end() :]
    return found


def future(all_of_them: Sequence[Statement]) -> int:
    """The flags for `compile` of what a notebook imports from `__future__`: it holds for all of its cells."""
    flags = 0
    for s in all_of_them:
        if isinstance(s.node, ast.ImportFrom) and s.node.module == "__future__":
            for name in s.names & set(__future__.all_feature_names):
                flags |= getattr(__future__, name).compiler_flag
    return flags


def _language(cell: str) -> str:
    """The first word of a cell in another language than Python, such as "%%bash"; else nothing."""
    found = re.match(r"\s*%%(!|[\w.]*)", cell)
    return found[0].strip() if found and found[1] in OTHER_LANGUAGES else ""


class _Magics(ast.NodeTransformer):
    """Puts the Python behind `%time` and the like where the call of IPython stands."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        body = self._python(node.value)
        return self.generic_visit(node) if body is None else body

    def visit_Call(self, node: ast.Call) -> ast.AST:
        body = self._python(node)
        if body and len(body) == 1 and isinstance(body[0], ast.Expr):
            return body[0].value
        return self.generic_visit(node)

    def _python(self, node: ast.expr) -> list[ast.stmt] | None:
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "get_ipython().run_line_magic"):
            return None
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if len(words) != 2 or words[0] not in RUN_THEIR_LINE:
            return None
        inner = _behind_options(str(words[1]))
        if inner is None:
            return None
        for part in ast.walk(inner):
            if hasattr(part, "lineno"):
                ast.copy_location(part, node)
        return [self.visit(s) for s in inner.body] or [ast.copy_location(ast.Pass(), node)]


def _behind_options(line: str) -> ast.Module | None:
    """The Python on a magic's line, such as f() of "-s time f()"; None where there is none."""
    words = line.split()
    for start in range(len(words) + 1):
        text = line.split(None, start)[-1] if start < len(words) else ""
        if not text.startswith("-"):
            with contextlib.suppress(SyntaxError, ValueError):
                return ast.parse(plain(text))
        # An option may have a value, and so what follows one may be none of the Python yet.
        if not any(word.startswith("-") for word in words[max(0, start - 1) : start + 1]):
            return None
    return None


def _tree(cell: str) -> ast.Module:
    return _Magics().visit(ast.parse(plain(cell)))


# ----------------------------------------------------------------------------------------- statements by name


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a cell: what it names, and which names it needs.

    Args:
        calls: which functions and methods it calls at the top level, on which name, and with which names in
            which places: from these `needed` sees what the notebook's own functions change for it.
    """

    cell: int
    node: ast.stmt
    names: frozenset[str]
    needs: frozenset[str]
    calls: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


def statements(cells: Sequence[str]) -> tuple[list[Statement], dict[int, str]]:
    """All statements in order, and of the cells that are no Python what is wrong."""
    found, broken = [], {}
    for i, cell in enumerate(cells):
        try:
            found += [
                Statement(i, node, *_names_and_needs(node), tuple(_calls(node)))
                for line in _tree(cell).body
                for node in _one_by_one(line)
            ]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            broken[i] = (
                f"code cell {i + 1}, line {getattr(error, 'lineno', None) or '?'}: "
                f"{getattr(error, 'msg', None) or error}"
            )
        else:
            if _language(cell) and not files([cell]) and re.search(r"^\s*(def|class) ", cell, re.M):
                broken[i] = f"code cell {i + 1} is a {_language(cell)} cell: what it holds is not run here"
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


# Functions that change what they are handed first, by the last part of their names.
CHANGE_THEIR_ARGUMENT = frozenset(
    "setattr delattr setitem shuffle insort insort_left insort_right heappush heappop heapify heapreplace "
    "update_wrapper copyto put place put_along_axis fill_diagonal next".split()
)
# Methods that change what they are called on; so do those of torch, whose names end with "_".
CHANGE_THEMSELVES = frozenset(
    "add append appendleft clear difference_update discard eval extend extendleft fill insert "
    "intersection_update load_state_dict move_to_end pop popitem popleft put register_buffer "
    "register_module register_parameter remove resize reverse rotate setdefault sort subtract "
    "symmetric_difference_update train update __setattr__ __setitem__ __delitem__ __iadd__".split()
)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _base(node: ast.AST) -> str | None:
    """The name whose part this is: `table` of table.rows["key"]."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _changed(node: ast.AST) -> Iterator[str]:
    """What a statement may write into at the top level: `table` in table["key"] = 1, table.append(1),
    setattr(table, "key", 1), `module` in module.name = 2.
    """
    if isinstance(node, _SCOPES):
        return
    found = None
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        found = _base(node)
    elif isinstance(node, ast.Call):
        last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        in_place = last in CHANGE_THEMSELVES or (last.endswith("_") and not last.endswith("__"))
        if isinstance(node.func, ast.Attribute) and in_place:
            found = _base(node.func.value)
        # torch.nn.init.normal_(weight), list.append(rows, 1)
        if node.args and (in_place or last in CHANGE_THEIR_ARGUMENT):
            yield from filter(None, [_base(node.args[0])])
    if found:
        yield found
    for child in ast.iter_child_nodes(node):
        yield from _changed(child)


def _calls(node: ast.AST) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The calls at the top level: the function's name, on what it is called, and what it is handed."""
    if isinstance(node, _SCOPES):
        return
    if isinstance(node, ast.Call):
        handed = tuple(_base(a) or "" for a in node.args)
        if isinstance(node.func, ast.Name):
            yield node.func.id, "", handed
        elif isinstance(node.func, ast.Attribute):
            yield node.func.attr, _base(node.func.value) or "", handed
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _writes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[set[str], set[int]]:
    """What a function of the notebook changes when it is called: global names, and arguments by place."""
    arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    scope = symtable.symtable(ast.unparse(function), "function", "exec").get_children()[-1]
    changed = {name for line in function.body for name in _changed(line)}
    by_symbol = {s.get_name(): s for s in scope.get_symbols()}
    outer = {n for n in changed if n in by_symbol and by_symbol[n].is_global()}
    outer |= {n for n, s in by_symbol.items() if s.is_declared_global() and s.is_assigned()}
    return outer, {arguments.index(n) for n in changed if n in arguments}


def needed(all_of_them: Sequence[Statement], function: str) -> list[Statement]:
    """The statements without which a function is not what it is in its notebook, in their order.

    A statement counts where it names something that is needed or writes into it, by itself or through a
    function of the notebook that it calls; `from x import *` may name anything. What is written into imported
    modules names the module and not the function: that does not run. Nor does a statement that calls the
    function itself: it tries the answer out, and may take hours."""
    if not any(function in s.names for s in all_of_them):
        return []
    is_import = lambda s: isinstance(s.node, (ast.Import, ast.ImportFrom))
    modules = {name for s in all_of_them if is_import(s) for name in s.names}
    parts = [s.node for s in all_of_them]
    own = {f.name: _writes(f) for f in parts if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))}
    bodies = [f for c in parts if isinstance(c, ast.ClassDef) for f in c.body]
    methods = {f.name for f in bodies if isinstance(f, ast.FunctionDef) and 0 in _writes(f)[1]}

    def gives(s: Statement) -> frozenset[str]:
        if is_import(s):
            return s.names
        changed = set(_changed(s.node))
        assigned = s.names - changed
        if not any(called == function for called, *_ in s.calls):
            for called, on, handed in s.calls:
                outer, places = own.get(called, (set(), set())) if not on else (set(), set())
                changed |= outer | {handed[i] for i in places if i < len(handed)}
                changed |= {on} if on and called in methods else set()
        elif function not in assigned:
            changed = set()
        return frozenset(assigned | (changed - modules))

    given = [gives(s) for s in all_of_them]
    wanted, chosen, before = {function, "*"}, set[int](), -1
    while len(chosen) > before:
        before = len(chosen)
        for i, s in enumerate(all_of_them):
            if i not in chosen and given[i] & wanted:
                chosen.add(i)
                wanted |= s.needs
    return [s for i, s in enumerate(all_of_them) if i in chosen]


# ----------------------------------------------------------------------------------------- written answers

_OF_TEXTS = frozenset("strip lstrip rstrip expandtabs replace format removeprefix removesuffix".split())
_KNOWN: dict[str, Callable[[str], str]] = {
    "dedent": textwrap.dedent,
    "cleandoc": inspect.cleandoc,
    "str": str,
    "fill": textwrap.fill,
}


def texts(all_of_them: Sequence[Statement], variables: Sequence[str]) -> dict[str, str]:
    """Written answers: the last text that each variable is given. Texts that are put together of constants
    are put together; what would have to be run is handed on as the code that stands there.
    """
    known: dict[str, str] = {}
    for s in all_of_them:
        for node in _outside_functions(s.node):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    for name, value in _one_each(target, node.value):
                        text = _text(value, known)
                        text = ast.unparse(value) if text is None else text
                        known[name] = known.get(name, "") + text if isinstance(node, ast.AugAssign) else text
    return {name: known.get(name, "").strip() for name in variables}


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, _SCOPES):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def _one_each(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for t, v in zip(target.elts, value.elts):
            yield from _one_each(t, v)


def _text(node: ast.expr, known: Mapping[str, str]) -> str | None:
    """The text that an expression of constants is; None where something would have to be run."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
        return str(node.value.value) if isinstance(node.value, ast.Constant) else _text(node.value, known)
    if isinstance(node, ast.JoinedStr):
        parts = [_text(v, known) for v in node.values]
        return None if None in parts else "".join(p for p in parts if p is not None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, known), _text(node.right, known)
        return None if left is None or right is None else left + right
    try:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            text = _text(node.left, known)
            return None if text is None else text % ast.literal_eval(node.right)
        if isinstance(node, ast.Call) and not node.keywords:
            return _called(node, known)
    except (ValueError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        return None
    return None


def _called(node: ast.Call, known: Mapping[str, str]) -> str | None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _KNOWN and len(node.args) == 1:
        text = _text(node.args[0], known)
        return None if text is None else _KNOWN[name](text)
    text = _text(node.func.value, known) if isinstance(node.func, ast.Attribute) else None
    if text is None:
        return None
    if name == "join" and len(node.args) == 1 and isinstance(node.args[0], (ast.List, ast.Tuple)):
        parts = [_text(part, known) for part in node.args[0].elts]
        return None if None in parts else text.join(p for p in parts if p is not None)
    if name in _OF_TEXTS:
        return getattr(text, name)(*map(ast.literal_eval, node.args))
    return None
