"""Modules read as text: what each name stands for, in a form without words, and what it uses.

Nothing is imported to find this out, so code can be looked at whose packages take seconds to load.
"""

import ast
import gc
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_MODULE = re.compile(r"[a-z]\w*(\.\w+)+(:\w+)?")
_STOPPING = frozenset(
    {
        *("EngineMissingError", "OutputError", "PlanError", "SpecError", "StorageError"),
        "JobStoppedError",
    }
)
"""Errors that stop a job: what they say is for a person, and comes into no row."""
_DOCS: dict[str, tuple[int | None, str]] = {
    "Column": (2, "doc"),
    "Table": (1, "doc"),
    "Field": (None, "description"),
}
"""Calls with an argument that is a docstring: its place, if it has one, and its keyword."""
_PLANNING = frozenset({"speed_x_real_time", "resources", "cpu_s_elsewhere"})
"""Members of stages that say how dear they are: plans and pools hang on them, and no value."""


@dataclass(frozen=True, slots=True)
class Part:
    """A top-level statement: the digest of what it does, and all names in it."""

    digest: str
    names: frozenset[str]
    said: frozenset[tuple[str, str]]
    """Text in it that reads like `package.module` or `package.module:name`: what is started by its
    name, as a child process is, has no import that leads there."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module by what its names stand for."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    """Statements that run when it is imported and define no name."""
    imports: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Local name to the module and the name in it; an empty name is the module itself."""

    @property
    def statements(self) -> Iterator[ast.stmt]:
        yield from self.effects
        for found in self.definitions.values():
            yield from found


@cache
def read_module(name: str) -> Module | None:
    """The module of that name; None if there is none, or none with source."""
    path = _file_of(name)
    if path is None:
        return None
    definitions: dict[str, list[ast.stmt]] = defaultdict(list)
    effects: list[ast.stmt] = []
    tree = _parsed(path)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_text(statement):
            continue
        bound = _bound_by(statement)
        for target in bound:
            definitions[target].append(statement)
        if not bound:
            effects.append(statement)
    imports = _imports(tree, name, is_package=path.name == "__init__.py")
    return Module(name, dict(definitions), effects, imports)


def _parsed(path: Path) -> ast.Module:
    """The file's tree. Looking for garbage among so many new nodes would take half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_bytes())
    finally:
        if was_on:
            gc.enable()


@cache
def part_of(statement: ast.stmt) -> Part:
    """A statement without comments, layout, docstrings and what else is said to people only."""
    words: list[str] = []
    names: set[str] = set()
    said: set[tuple[str, str]] = set()
    _write(statement, words, names, said)
    sha = hashlib.sha256("\0".join(words).encode())
    return Part(sha.hexdigest(), frozenset(names), frozenset(said))


def _write(node: ast.AST, words: list[str], names: set[str], said: set[tuple[str, str]]) -> None:
    words.append(node.__class__.__name__)
    if isinstance(node, ast.Name):
        words.append(node.id)
        names.add(node.id)
        return
    if isinstance(node, ast.Constant):
        words.append(repr(node.value))
        if isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            module, _, name = node.value.partition(":")
            said.add((module, name))
        return
    for name in node._fields:
        value = getattr(node, name)
        if (not value and value != 0) or name == "ctx":
            continue  # a field that is empty in one Python does not exist in another
        if isinstance(value, list):
            words.append(f"{name}[")
            for entry in _counting(node, name, value):
                if isinstance(entry, ast.AST):
                    _write(entry, words, names, said)
                else:
                    words.append(repr(entry))
            words.append("]")
        elif isinstance(value, ast.AST):
            words.append(name)
            _write(value, words, names, said)
        else:
            words.append(f"{name}={value!r}")


def _counting(node: ast.AST, name: str, entries: list[Any]) -> list[Any]:
    """Those of a list in a node that a machine would act upon."""
    if name in ("body", "orelse", "finalbody"):
        entries = [entry for entry in entries if not _is_text(entry)]
        if isinstance(node, ast.ClassDef):
            entries = [entry for entry in entries if not _bound_by(entry) & _PLANNING]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in _STOPPING:
            return []
        place, keyword = _DOCS.get(node.func.id, (None, ""))
        if name == "keywords":
            entries = [entry for entry in entries if getattr(entry, "arg", None) != keyword]
        elif place is not None:
            entries = entries[:place] + entries[place + 1 :]
    return entries


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone is a docstring, of whatever it stands in or after."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _bound_by(node: ast.AST) -> set[str]:
    """Names that a definition or an assignment gives a meaning to; none for what does more."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    flat = [
        part
        for target in targets
        for part in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    ]
    named = {part.id for part in flat if isinstance(part, ast.Name)}
    return named if len(named) == len(flat) else set()


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> dict[str, set[tuple[str, str]]]:
    """What the imports of a module bind, wherever in it they stand."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    parents = module.split(".") if is_package else module.split(".")[:-1]
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]].add((alias.name, ""))
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                found[alias.asname or alias.name].add((base, alias.name))
    return dict(found)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node, without a look at their expressions."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, name, None)
        for statement in inner if isinstance(inner, list) else ():
            yield statement
            yield from _statements(statement)


@cache
def _file_of(module: str) -> Path | None:
    """The module's source, found without running any of it or of the packages it lies in."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        origin = spec.origin or ""
        return Path(origin) if origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *rest)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None
