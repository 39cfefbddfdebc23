"""The rooms: what may import what. Imports point down only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "schemas": set(),
    "stages": {"schemas"},
    "tokenizer": {"schemas"},
    "model": {"schemas", "tokenizer"},
    "pipeline": {"schemas", "stages"},
    "jobs": {"schemas", "stages", "tokenizer", "model", "pipeline"},
}


def imported_roots(path: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module.split(".")[0])
    return roots


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_down(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    forbidden = (MAY_IMPORT.keys() | {"tests", "benchmarks"}) - MAY_IMPORT[room] - {room}
    for path in files:
        upward = imported_roots(path) & forbidden
        assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


@pytest.mark.parametrize("room", [*MAY_IMPORT, "benchmarks"])
def test_every_room_has_a_readme_of_one_screen(room: str) -> None:
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    assert "## What it does" in text
    assert len(text.splitlines()) <= 100


def test_only_the_engine_and_the_command_line_know_ray() -> None:
    knowing = {
        path.relative_to(ROOT).as_posix()
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*.py")
        if "ray" in imported_roots(path)
    }
    names = ("crew", "engine", "metrics", "private_ray", "ray_cluster")
    assert knowing == {
        *(f"pipeline/{name}.py" for name in names),
        "jobs/assembly.py",
        "jobs/train_on_ray.py",
    }
