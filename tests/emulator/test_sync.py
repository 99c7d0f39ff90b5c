"""The synchronous form: provider-api, section 8. Runs on asyncio and on trio."""

from __future__ import annotations

import anyio
import httpx
import pytest

from batchedit.emulator import Emulator, Switches
from tests.emulator.lab import BEGIN, KEY, ORIGIN, SYNC, Lab, body, size_of


def test_the_answer_comes_when_the_run_has_ended() -> None:
    """After its latency, with a picture that can be fetched."""
    lab = Lab()
    answer = lab.edit(image_size="1024x640")
    assert lab.now == BEGIN + 10.0
    assert size_of(lab.call("GET", answer.json()["images"][0]["url"]).content) == (1024, 640)


def test_nothing_in_the_answer_says_what_it_cost_or_which_run_it_was() -> None:
    """No run id, no price: only the images and their three companions."""
    assert set(Lab().edit().json()) == {"images", "seed", "timing", "nsfw_detected"}


def test_several_pictures_come_at_once() -> None:
    """As many as asked for, at so many times the price."""
    lab = Lab()
    assert len(lab.edit(num_images=4).json()["images"]) == 4
    assert lab.emulator.audit()["billed_microusd_total"] == 532_000


def test_sync_mode_gives_the_pictures_inline() -> None:
    """As data URIs."""
    url = Lab().edit(sync_mode=True, output_format="webp").json()["images"][0]["url"]
    assert url.startswith("data:image/webp;base64,")


def test_a_reference_is_not_a_field_of_this_form() -> None:
    """The flat body is the input, and an unknown field of it is a 422."""
    lab = Lab()
    answer = lab.call("POST", SYNC, json={**body(None)["input"], "client_ref": "mug"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "input.client_ref"


def test_a_failed_edit_is_an_error_and_not_billed() -> None:
    """With the code that a run record would have."""
    lab = Lab()
    lab.emulator.script("failed_moderation")
    assert lab.edit().json()["code"] == "CONTENT_POLICY_VIOLATION"
    assert lab.emulator.audit()["billed_microusd_total"] == 0


@pytest.mark.parametrize("fault", ["stuck_running", "stuck_queued"])
def test_a_stuck_edit_never_answers(fault: str) -> None:
    """Only the client's own deadline ends it."""
    lab = Lab()
    lab.emulator.script(fault)

    async def impatient() -> bool:
        with anyio.move_on_after(100_000.0) as scope:
            await lab.send("POST", SYNC, json=body(None)["input"])
        return scope.cancelled_caught

    assert lab.run(impatient)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_event_loops_will_do(backend: str) -> None:
    """With real time, real threads and the defaults of the emulator."""

    async def main() -> int:
        emulator = Emulator(switches=Switches(latency=(0.0, 0.0)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator.app), base_url=ORIGIN) as client:
            headers = {"authorization": f"Bearer {KEY}"}
            answer = await client.post(SYNC, json=body(None)["input"], headers=headers)
            picture = await client.get(answer.json()["images"][0]["url"])
        emulator.close()
        return len(picture.content)

    assert anyio.run(main, backend=backend) > 1000


def test_a_night_passes_in_no_time() -> None:
    """A hundred edits of minutes each under a virtual clock, all at once, and one deadline that is missed."""
    lab = Lab(latency=(44.0, 280.0))
    done: list[int] = []

    async def edit(number: int) -> None:
        answer = await lab.send("POST", SYNC, json=body(None, prompt=f"variant {number}")["input"])
        done.append(answer.status_code)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(edit, number)

    lab.run(main)
    assert done == [200] * 100
    assert 200.0 < lab.now - BEGIN <= 280.0
    assert lab.emulator.audit()["billed_runs_total"] == 100
