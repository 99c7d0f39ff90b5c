"""What the architecture promises, read from the code: directions of imports, public names, docs that are true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import batchedit
from batchedit.cli.commands import cli
from batchedit.errors import ExitCode

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "batchedit"

# The level of each module; imports go to the same level or below. A sub-package counts as its own entry unless a
# module of it is listed.
LEVELS = {
    "errors": 0,
    "json_size": 0,
    "model": 0,
    "money": 0,
    "paths": 0,
    "recipe": 0,
    "redaction": 0,
    "scratch": 0,
    "addresses": 1,
    "agenda": 1,
    "breaker": 1,
    "budget": 1,
    "claims": 1,
    "cleaning": 1,
    "configuration": 1,
    "containment": 1,
    "control": 1,
    "credentials": 1,
    "data_uris": 1,
    "differences": 1,
    "disk": 1,
    "endpoint": 1,
    "exporting.dictionary": 1,
    "forecast": 1,
    "grouping": 1,
    "jobs.model": 1,
    "jobs.notice_keys": 1,
    "jobs.reading": 1,
    "jobs.schema": 1,
    "jobs.values": 1,
    "jobs.vocabulary": 1,
    "jobs.window": 1,
    "keys": 1,
    "latency": 1,
    "learning": 1,
    "ledger.records": 1,
    "ledger.run_records": 1,
    "ledger.sums": 1,
    "ledger.waiting": 1,
    "lifecycle": 1,
    "logs": 1,
    "manifest": 1,
    "pacing": 1,
    "pictures": 1,
    "plan": 1,
    "png": 1,
    "jpeg": 1,
    "exif": 1,
    "postprocess": 1,
    "pricing": 1,
    "report.advice": 1,
    "report.as_csv": 1,
    "report.as_json": 1,
    "report.charts": 1,
    "report.invoice": 1,
    "report.markdown": 1,
    "report.page": 1,
    "report.text": 1,
    "selection": 1,
    "selectors": 1,
    "stopping": 1,
    "summary": 1,
    "trust": 1,
    "bodies": 2,
    "connections": 2,
    "digests": 2,
    "effects": 2,
    "filing": 2,
    "ledger": 2,
    "outputs": 2,
    "polling": 2,
    "providers": 2,
    "sources": 2,
    "turning": 2,
    "unfolding": 2,
    "wire": 2,
    "worker_process": 2,
    "workers": 2,
    "context": 3,
    "delivery": 3,
    "hooks": 3,
    "pool": 3,
    "purchase": 3,
    "reconciliation": 3,
    "redelivery": 3,
    "releasing": 3,
    "rendering": 3,
    "allowance": 4,
    "batch": 4,
    "calling": 4,
    "caps": 4,
    "chains": 4,
    "checking": 4,
    "comparing": 4,
    "counting": 4,
    "delivering": 4,
    "diagnosis": 4,
    "ending": 4,
    "events": 4,
    "exporting": 4,
    "jobs": 4,
    "leftovers": 4,
    "listing": 4,
    "naming": 4,
    "notebook": 4,
    "pilot": 4,
    "planned": 4,
    "planner": 4,
    "reediting": 4,
    "reedits": 4,
    "renaming": 4,
    "report": 4,
    "rerendering": 4,
    "returned": 4,
    "review": 4,
    "run_options": 4,
    "saved_plans": 4,
    "selecting": 4,
    "settled": 4,
    "starting": 4,
    "tracing": 4,
    "verdicts": 4,
    "verifying": 4,
    "cli": 5,
    "__init__": 6,
    "__main__": 6,
}
EMULATOR_USERS = {"providers.rehearsal", "cli.commands", "cli.emulating"}


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        names[".".join(parts)] = path
    return names


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, type-checking imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("batchedit"):
            base = node.module.removeprefix("batchedit").lstrip(".")
            for alias in node.names:
                candidate = f"{base}.{alias.name}".lstrip(".")
                found.add(candidate if candidate in modules() else base or "__init__")
    return found


def level(name: str) -> int:
    while name not in LEVELS:
        assert "." in name, f"{name} has no level"
        name = name.rsplit(".", 1)[0]
    return LEVELS[name]


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith("emulator")])
def test_imports_go_downward(name: str) -> None:
    """No module imports from a level above its own."""
    for other in imports(modules()[name]):
        if other.startswith("emulator"):
            assert name in EMULATOR_USERS, f"{name} may not know the emulator"
        else:
            assert level(other) <= level(name), f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("emulator")])
def test_the_emulator_knows_nothing_of_the_client(name: str) -> None:
    """Both are written from the provider's documents, so that one misreading cannot cancel the other out."""
    assert all(other.startswith("emulator") for other in imports(modules()[name]))


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        ("pool", "manifest"),
        ("purchase", "manifest"),
        ("delivery", "manifest"),
        ("report", "pool"),
        ("plan", "ledger.writer"),
    ],
)
def test_data_flows_one_way(part: str, forbidden: str) -> None:
    """The pool never reads the manifest, the report never reads the pool, the plan never writes."""
    assert not any(
        other.split(".")[: forbidden.count(".") + 1] == forbidden.split(".") for other in imports(modules()[part])
    )


def test_only_the_wire_imports_the_http_client() -> None:
    """A successor of httpx is a change in two files."""
    users = [name for name, path in modules().items() if re.search(r"^\s*(import|from) httpx", path.read_text(), re.M)]
    assert users == ["connections", "wire"]


def test_the_command_line_writes_no_sql() -> None:
    """Everything it shows comes from a function that anybody can call."""
    for path in (PACKAGE / "cli").glob("*.py"):
        assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", path.read_text())


def test_wall_time_randomness_and_asyncio_enter_in_one_place() -> None:
    """Everything else is injected, so that a night can be simulated."""
    pattern = re.compile(r"\btime\.time\b|\brandom\.(random|uniform|choice|randint)\(|^\s*import asyncio", re.M)
    users = [name for name, path in modules().items() if pattern.search(path.read_text())]
    assert users == ["effects", "emulator"]


def test_the_architecture_names_every_module() -> None:
    """Whoever looks for a duty finds its module."""
    said = (ROOT / "docs/architecture.md").read_text("utf-8")
    outer = {name.split(".")[0] for name in modules()} - {"__init__", "__main__"}
    assert {name for name in outer if not re.search(rf"`{name}(/|\.[\w.]+)?`", said)} == set()


def test_public_names() -> None:
    """`__all__` is what is public, each name loads, and nothing else does."""
    assert batchedit.__all__ == sorted(batchedit.__all__, key=str)
    for name in batchedit.__all__:
        assert getattr(batchedit, name).__doc__
    assert dir(batchedit) == sorted(batchedit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        batchedit.nonsense  # noqa: B018  the point of the test


def test_the_names_of_the_design_are_there() -> None:
    """The library's names are fixed."""
    fixed = (
        "load_manifest make_plan run_plan run_plan_sync render_report Item Task Request Plan Limits Ledger Provider"
        " BatchEditError"
    )
    assert set(fixed.split()) <= set(batchedit.__all__)


def test_exit_codes_are_frozen() -> None:
    """A code never changes its meaning."""
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0, "BUG": 1, "USAGE": 2, "SOME_FAILED": 3, "ACCOUNT": 4, "NOTHING_SELECTED": 5, "LIMIT": 6,
        "UNKNOWN": 7, "LEDGER": 8, "STORAGE": 9, "WORK_TO_BUY": 10, "SIGINT": 130, "SIGTERM": 143,
    }  # fmt: skip


def test_the_readme_lists_every_exit_code_and_every_command() -> None:
    """What is documented is what there is."""
    readme = (ROOT / "README.md").read_text("utf-8")
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \|", readme, re.M), f"exit code {int(code)}"
    for name in cli.commands:
        assert f"`{name}`" in readme or f"batchedit {name}" in readme, name


def test_every_dependency_is_justified() -> None:
    """docs/dependencies.md has a line for each package that is installed with us, and for no other."""
    import tomllib

    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[><=\[]", entry)[0].lower() for entry in data["project"]["dependencies"]}
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.M)
    assert {row.lower() for row in rows if row.lower() in wanted} == wanted


@pytest.mark.parametrize("heavy", ["httpx", "sqlite_utils", "PIL", "yaml", "jinja2", "starlette", "uvicorn", "tqdm"])
def test_help_loads_nothing_heavy(heavy: str) -> None:
    """The command line starts at once: counted in modules, not in seconds."""
    code = f"import sys; from batchedit.cli import run; run(['--help']); sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_modules_and_functions_stay_readable() -> None:
    """No module over 450 lines, no function over 60 without its docstring."""
    for name, path in modules().items():
        text = path.read_text("utf-8")
        assert text.count("\n") <= 450, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                doc = ast.get_docstring(node, clean=False) or ""
                assert (node.end_lineno or 0) - node.lineno - doc.count("\n") <= 60, f"{name}.{node.name}"
