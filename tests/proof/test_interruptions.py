"""Signals, standing still, and a disk that says no, at any moment of the real command; then the same command again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proof import count, workers
from tests.proof.kills import STRACE, Killer, Provider, finish, judge, provider, reached, start, workshop

SHARES = 4
"""Each test is a share of what there is to try, so that several can be done at a time."""
_EDITS = 12
_ERRORS = ("EIO", "ENOSPC", "EROFS")
_FILE_CALLS = ("fsync", "fdatasync", "pwrite64", "rename", "link", "copy_file_range", "mkdir", "ftruncate")


@pytest.fixture(scope="module")
def seller() -> Iterator[Provider]:
    """One provider for all."""
    with provider() as running:
        yield running


@pytest.fixture(scope="module")
def killer(seller: Provider, tmp_path_factory: pytest.TempPathFactory) -> Killer:
    """Knows what an undisturbed run gives."""
    return Killer(tmp_path_factory.mktemp("calm"), seller)


def ended(process: subprocess.Popen[str]) -> str:
    """What it said; killed if it hangs."""
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"it hung: {process.communicate()[0]}"


def settled(folder: Path, seller: Provider, killer: Killer, edits: int) -> list[str]:
    """What is wrong after the same command has been run to its end."""
    code, said = finish(folder)
    problems = judge(folder, seller, code, said, killer.wanted[edits])
    if not problems:
        shutil.rmtree(folder)
    return problems


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("share", range(SHARES))
def test_signals_at_random_moments(tmp_path: Path, seller: Provider, killer: Killer, share: int) -> None:
    """One drains, two leave; each exit code is the signal's or that of a finished run; nothing is lost or doubled."""

    def one(number: int) -> list[str]:
        draw = random.Random(f"signal/{number}")
        folder = workshop(tmp_path / str(number), seller.url, _EDITS)
        process = start(folder)
        kind = draw.choice([signal.SIGINT, signal.SIGTERM])
        time.sleep(draw.uniform(0.5, 2.0))
        process.send_signal(kind)
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0.0, 0.3))
            process.send_signal(draw.choice([signal.SIGINT, signal.SIGTERM]))
        said = ended(process)
        problems = settled(folder, seller, killer, _EDITS)
        # Before the program listens to signals the interpreter's own way of ending holds.
        if process.returncode not in (0, 130, 143, -signal.SIGTERM, -signal.SIGINT) or "it hung" in said:
            problems.append(f"exit code {process.returncode}: {said[-400:]}")
        if "Traceback" in said and "batchedit/pool.py" in said:
            problems.append(said[-800:])
        return problems

    with ThreadPoolExecutor(workers()) as pool:
        assert [
            problem for problems in pool.map(one, range(share, count(12, 200), SHARES)) for problem in problems
        ] == []


@pytest.mark.timeout(7200)
def test_standing_still(tmp_path: Path, seller: Provider, killer: Killer) -> None:
    """A laptop that sleeps: stopped for longer than every time-out, it goes on by itself and ends as it should."""

    def one(number: int) -> list[str]:
        draw = random.Random(f"stop/{number}")
        folder = workshop(tmp_path / str(number), seller.url, _EDITS)
        process = start(folder)
        time.sleep(draw.uniform(0.3, 1.5))
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        process.send_signal(signal.SIGCONT)
        said = ended(process)
        problems = settled(folder, seller, killer, _EDITS)
        if process.returncode != 0:
            problems.append(f"exit code {process.returncode}: {said[-400:]}")
        return problems

    with ThreadPoolExecutor(2 * workers()) as pool:
        assert [problem for problems in pool.map(one, range(count(6, 50))) for problem in problems] == []


@pytest.mark.timeout(7200)
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("share", range(SHARES))
def test_a_disk_that_says_no(tmp_path: Path, seller: Provider, killer: Killer, share: int) -> None:
    """Each call that changes a file fails once or for good: a sentence, exit code 9, and it goes on when it is mended."""
    counts = reached(tmp_path, seller)
    every = [(call, number) for call in _FILE_CALLS for number in counts[call]]
    draw = random.Random("disk")
    points = draw.sample(every, min(count(22, len(every)), len(every)))[share::SHARES]

    def one(point: tuple[str, int]) -> list[str]:
        call, number = point
        choice = random.Random(f"disk/{call}/{number}")
        error, more = choice.choice(_ERRORS), choice.choice(["", "+"])
        folder = workshop(tmp_path / f"{call}{number}", seller.url, 3)
        said = ended(process := start(folder, inject=f"{call}:error={error}:when={number}{more}"))
        problems = settled(folder, seller, killer, 3)
        # A call that fails before anything of ours began (byte code, caches) harms nothing.
        if process.returncode not in (0, 9) or "Traceback" in said:
            problems.append(f"exit code {process.returncode}: {said[-400:]}")
        return [f"{call}:{number}{more} {error}: {problem}" for problem in problems]

    with ThreadPoolExecutor(workers()) as pool:
        assert [problem for problems in pool.map(one, points) for problem in problems] == []
