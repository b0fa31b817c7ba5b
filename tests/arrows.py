"""Who imports whom, read from the code with `ast`: modules, and names that a room's front door (its
__init__.pyi) hands on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module below a package's folder; the package's own name comes first."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = (package.name, *file.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def doors(known: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Room -> the names at its front door, each with the module that it comes from.

    A front door is an __init__.py that imports nothing itself, or only re-exports: its names stand in
    __init__.pyi where there is one, else in its own imports."""
    found: dict[str, dict[str, str]] = {}
    for name, file in known.items():
        if file.name != "__init__.py":
            continue
        stub = file.with_suffix(".pyi")
        names = found[name] = {}
        for node in ast.parse((stub if stub.exists() else file).read_text()).body:
            if not isinstance(node, ast.ImportFrom):
                continue
            above = f"{name}.{node.module}".rstrip(".") if node.level else node.module or ""
            above = name if node.level and not node.module else above
            for alias in node.names:
                whole = f"{above}.{alias.name}"
                names[alias.asname or alias.name] = whole if whole in known else above
    return found


def arrows(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of the same package that it uses, wherever in its code it imports them."""
    known = modules(package)
    at_door = doors(known)

    def behind(module: str, name: str) -> str | None:
        """The module that `from module import name` really reaches."""
        if f"{module}.{name}" in known:
            return (
                None if f"{module}.{name}" in at_door else f"{module}.{name}"
            )  # a room: its attributes are looked at
        home = at_door.get(module, {}).get(name, module)
        return behind(home, name) if home != module and home in at_door else home

    def used(file: Path) -> Iterator[str]:
        tree = ast.parse(file.read_text())
        rooms: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "") in known:
                for alias in node.names:
                    reached = behind(node.module, alias.name)
                    if reached is None:
                        rooms[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                    else:
                        yield reached
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in known)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in rooms
            ):
                reached = behind(rooms[node.value.id], node.attr)
                yield reached if reached is not None else f"{rooms[node.value.id]}.{node.attr}"

    found: dict[str, set[str]] = {}
    for name, file in known.items():
        lazy = file.name == "__init__.py" and file.with_suffix(".pyi").exists()
        found[name] = set() if lazy else {other for other in used(file) if other != name}
    return found


def borrowed(package: Path) -> Iterator[str]:
    """Names with a leading underscore that one module takes from another: "a.b._c in a.d", each once."""
    found = set()
    for module, file in modules(package).items():
        tree = ast.parse(file.read_text())
        imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package.name:
                for alias in node.names:
                    imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        found |= {f"{whole} in {module}" for whole in imported.values() if private(whole.rsplit(".")[-1])}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr) and isinstance(node.value, ast.Name):
                if node.value.id in imported:
                    found.add(f"{imported[node.value.id]}.{node.attr} in {module}")
    yield from sorted(found)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (strongly connected components of more than one), sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def room(module: str) -> str:
    """The room of a module: sslcourse.data.toybox.world -> data; the package itself and __main__ are their
    own.
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]
