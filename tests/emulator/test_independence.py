"""The emulator knows nothing of the client: one misreading of the contract must not cancel another."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import batchedit.emulator

FOLDER = Path(batchedit.emulator.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
OWN = "batchedit.emulator"
ALLOWED = {"PIL", "anyio", "starlette", *sys.stdlib_module_names}


def imports(path: Path) -> set[str]:
    """Everything that a module imports, at whatever level of it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    """The standard library, four others, and its own package; no event loop by name."""
    allowed = ALLOWED | ({"uvicorn"} if path.stem == "serve" else set())
    for name in imports(path):
        assert name == OWN or name.startswith(f"{OWN}.") or name.partition(".")[0] in allowed, f"{path.name}: {name}"
        assert name.partition(".")[0] not in {"asyncio", "trio", "httpx", "socket", "urllib3"} or path.stem == "serve"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_short(path: Path) -> None:
    """Under 400 lines, and no function over 45."""
    text = path.read_text("utf-8")
    assert text.count("\n") < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.body[0].lineno < 45, f"{path.name}: {node.name}"


def test_importing_the_emulator_needs_no_server() -> None:
    """uvicorn is for `serve` only."""
    code = "import sys, batchedit.emulator; sys.exit('uvicorn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
