"""`Idempotency-Key` on creations: provider-api, section 9."""

from __future__ import annotations

import anyio
import httpx

from tests.emulator.lab import CREATE, Lab, body


async def _two_at_once(lab: Lab, gap: float = 1.0) -> list[httpx.Response]:
    """The same creation twice under one key, the second `gap` seconds after the first."""
    answers: dict[int, httpx.Response] = {}

    async def send(number: int) -> None:
        await anyio.sleep(number * gap)
        headers = {"idempotency-key": "k"}
        answers[number] = await lab.send("POST", CREATE, json=body("ref"), headers=headers)

    async with anyio.create_task_group() as group:
        group.start_soon(send, 0)
        group.start_soon(send, 1)
    return [answers[0], answers[1]]


def test_the_same_key_and_body_replay_the_first_answer() -> None:
    """The create-time snapshot, however far the run has come; one run, one bill."""
    lab = Lab()
    first = lab.create(idempotency_key="k")
    lab.wait()
    again = lab.create(idempotency_key="k")
    assert again.json() == first.json()
    assert again.json()["status_code"] == "queued"
    assert again.status_code == 201
    assert lab.runs() == 1


def test_the_same_key_with_another_body_is_a_conflict() -> None:
    """Also when only a detail differs; the first run stays as it is."""
    lab = Lab()
    lab.create(idempotency_key="k")
    answer = lab.create(idempotency_key="k", quality="low")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert lab.runs() == 1


def test_another_key_or_none_is_another_run() -> None:
    """`client_ref` is not unique."""
    lab = Lab()
    for key in ("k", "l", None, None):
        lab.create(idempotency_key=key)
    assert lab.runs() == 4


def test_a_refused_creation_does_not_use_up_its_key() -> None:
    """What was corrected may be sent under the same key."""
    lab = Lab()
    assert lab.create(idempotency_key="k", quality="best").status_code == 422
    assert lab.create(idempotency_key="k").status_code == 201


def test_a_lost_answer_can_be_had_by_sending_again() -> None:
    """That is what keys are for."""
    lab = Lab()
    lab.emulator.script("answer_lost")
    assert lab.is_cut("POST", CREATE, json=body("ref"), headers={"idempotency-key": "k"})
    assert lab.create(idempotency_key="k").status_code == 201
    assert lab.runs() == 1


def test_in_flight_the_second_waits_for_the_first() -> None:
    """And gets the same answer at the same time."""
    lab = Lab(create_delay=(5.0, 5.0))
    first, second = lab.run(lambda: _two_at_once(lab))
    assert first.json() == second.json()
    assert lab.runs() == 1


def test_in_flight_the_second_may_be_refused() -> None:
    """By the switch; once the first is answered the key replays."""
    lab = Lab(create_delay=(5.0, 5.0), idempotency_in_flight="conflict")
    first, second = lab.run(lambda: _two_at_once(lab))
    assert (first.status_code, second.status_code) == (201, 409)
    assert lab.create(idempotency_key="k").json() == first.json()
    assert lab.runs() == 1


def test_two_at_the_very_same_time_make_one_run() -> None:
    """Reading the pictures leaves no gap between the question and the answer."""
    lab = Lab()
    lab.run(lambda: _two_at_once(lab, gap=0.0))
    assert lab.runs() == 1
