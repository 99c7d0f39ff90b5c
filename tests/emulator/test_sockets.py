"""Over real sockets: a lost answer is a lost connection, not a page that says 500."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from batchedit.emulator import Emulator, Switches
from batchedit.emulator.serve import run_in_thread
from tests.emulator.lab import CREATE, KEY, SYNC, body, picture, size_of

HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Runs end at once."""
    emulator = Emulator(switches=Switches(latency=(0.0, 0.0)))
    yield emulator
    emulator.close()


@pytest.fixture
def client(emulator: Emulator) -> Iterator[httpx.Client]:
    """A client of the served emulator."""
    with run_in_thread(emulator) as url, httpx.Client(base_url=url, headers=HEADERS, timeout=30.0) as client:
        yield client


def test_a_run_from_upload_to_picture(client: httpx.Client) -> None:
    """URLs lead back to the same server."""
    form = {"filename": "a.png", "mime_type": "image/png", "size_bytes": len(picture())}
    ticket = client.post("/v1/asset-uploads", json=form).json()
    httpx.put(ticket["upload_url"], content=picture(), headers={"content-type": "image/png"}).raise_for_status()
    client.post(f"/v1/asset-uploads/{ticket['asset_id']}/confirmations", json={}).raise_for_status()
    image = f"runflow://assets/{ticket['asset_id']}"
    run = client.post(CREATE, json=body("ref", image_urls=[image], image_size="1024x640")).json()
    url = client.get(f"/v1/runs/{run['id']}").json()["output"]["outputs"][0]["url"]
    assert url.startswith(str(client.base_url))
    assert size_of(httpx.get(url).content) == (1024, 640)


@pytest.mark.parametrize("path", [CREATE, SYNC])
def test_a_lost_answer_is_a_closed_connection(client: httpx.Client, emulator: Emulator, path: str) -> None:
    """Not a byte comes; the run was made; the next call works."""
    emulator.script("answer_lost")
    data = body(None) if path == CREATE else body(None)["input"]
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(path, json=data)
    assert len(emulator.audit()["runs"]) == 1
    assert client.post(path, json=data).is_success


def test_a_cut_answer_ends_in_the_middle(client: httpx.Client, emulator: Emulator) -> None:
    """Status and headers come, half of the body, then the end of the connection."""
    emulator.script("answer_cut")
    received: list[bytes] = []
    with client.stream("POST", CREATE, json=body("ref")) as answer:
        assert answer.status_code == 201
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            received.extend(answer.iter_raw())
    assert len(b"".join(received)) < int(answer.headers["content-length"])
    assert len(emulator.audit()["runs"]) == 1


def test_a_cut_picture_ends_in_the_middle(client: httpx.Client, emulator: Emulator) -> None:
    """Some of it arrives."""
    run = client.post(CREATE, json=body("ref")).json()
    url = client.get(f"/v1/runs/{run['id']}").json()["output"]["outputs"][0]["url"]
    emulator.script("output_cut")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(url)
    assert httpx.get(url).is_success


def test_answers_have_one_date(client: httpx.Client) -> None:
    """The emulator's own clock, not that of the server around it."""
    assert len(client.get("/v1/health").headers.get_list("date")) == 1


_SERVER = """
import sys
from batchedit.emulator import Emulator
from batchedit.emulator.serve import serve
serve(Emulator(), on_ready=lambda url: print(url, flush=True))
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_gracefully(number: signal.Signals) -> None:
    """It says where it is through the callback, prints nothing itself, and returns when asked to stop."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx.get(f"{url}/emulator/health", timeout=30.0).json()["status"] == "ok"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_faults_and_books_work_over_the_socket() -> None:
    """Ordered and read by HTTP, as a rehearsal's script would."""
    emulator = Emulator(switches=Switches(latency=(0.0, 0.0)))
    with run_in_thread(emulator) as url:
        order = {"fault": "error_before", "match": {"client_ref": "a"}, "options": {"status": 503}}
        httpx.post(f"{url}/emulator/faults", json=order).raise_for_status()
        statuses = [httpx.post(url + CREATE, json=body(ref), headers=HEADERS).status_code for ref in "aab"]
        assert statuses == [503, 201, 201]
        assert httpx.get(f"{url}/emulator/audit").json()["faults_fired"] == {"error_before": 1}
    emulator.close()
