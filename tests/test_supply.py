"""What is installed: locked with digests, and compared with the lock."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).parent.parent
LOCK = TOP / ".ci" / "requirements.lock"


def locked() -> dict[str, str]:
    lines = [line for line in LOCK.read_text("utf-8").splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(found)
    return {match[1]: match[2] for match in found if match is not None}


def test_every_dependency_is_locked() -> None:
    """Those of the package and of its tests, each with a version and a digest."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(entry for name in extras if name != "bench" for entry in extras[name])]
    names = {re.split(r"[<>=\[ ]", entry)[0].lower() for entry in wanted} - {"batchedit"}
    assert names - set(locked()) == set()


def test_each_licence_is_in_the_documents() -> None:
    """Of what is installed with the package."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    text = (TOP / "docs" / "dependencies.md").read_text("utf-8").partition("## Licences")[2]
    for entry in project["dependencies"]:
        name = re.split(r"[<>=]", entry)[0]
        assert re.search(rf"`{name}`[^;.]*(MIT|BSD|Apache|PSF|MPL)", text), name


def test_the_audit_tells_what_is_not_as_locked(tmp_path: Path) -> None:
    """Another version, a package that is not there, a line without a digest."""
    digest = "0" * 64
    lock = tmp_path / "lock"
    lock.write_text(
        f"# a lock\nclick==0.0.1 --hash=sha256:{digest}\nno-such-package==1 --hash=sha256:{digest}\nh11==1\n"
    )
    done = subprocess.run([sys.executable, TOP / ".ci" / "audit", lock], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the lock has 0.0.1" in done.stdout
    assert "no-such-package is not installed" in done.stdout
    assert "not a line of a lock: h11==1" in done.stdout
