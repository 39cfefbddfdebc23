"""Digests of the code that makes rows, so that a job is not finished by other code than began it.

Comments, docstrings and layout do not count; what a module imports from its own package does.
Versions of other packages are in `Stage.describe()`.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from schemas.ids import digest

PIPELINE = (
    *("pipeline.item_state", "pipeline.process", "pipeline.rows", "pipeline.shards"),
    *("pipeline.sweep", "pipeline.units", "schemas.ids"),
)
"""Modules that decide rows, units and ids, whatever the stages are."""


def pipeline_code() -> str:
    """Digest of the code that is common to all jobs."""
    return digest(*(_module_code(module) for module in PIPELINE))


def code_of(cls: type) -> str:
    """Digest of the module of `cls` and of all that it imports from the package it is in."""
    found: set[str] = set()
    todo = [cls.__module__]
    while todo:
        module = todo.pop()
        if module not in found and _file_of(module) is not None:
            found.add(module)
            todo += _imports(module)
    return digest(*(f"{module}={_module_code(module)}" for module in sorted(found)))


@cache
def _module_code(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string that stands alone is a docstring, of whatever it stands in or after.
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return digest(ast.unparse(tree))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of the same package that `module` imports, wherever in it."""
    package = module.partition(".")[0]
    found: list[str] = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base]).rstrip(".")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if name.partition(".")[0] == package)


def _tree(module: str) -> ast.Module:
    path = _file_of(module)
    return ast.parse(path.read_bytes() if path else b"")


@cache
def _file_of(module: str) -> Path | None:
    """The module's source; None for a name that is no module, and for one without source."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _is_text(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
