"""OpenTelemetry: spans and figures in memory, at a real receiver, and nowhere; what is in them is the ledger's."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from batchedit import load_manifest, make_plan, run_plan_sync
from batchedit.emulator import Faults
from batchedit.events import Pump
from batchedit.tracing import Tracing
from tests.conftest import KEY, Result, Served, Shop, database

Cli = Callable[..., Result]
PROMPT = "a very particular prompt"


def in_ledger(shop: Shop) -> tuple[int, int]:
    with database(shop.root / "out/.batchedit/ledger.db") as db:
        row = db.execute("SELECT coalesce(sum(cost_microusd), 0), max(number) FROM attempts").fetchone()
    return int(row[0]), int(row[1])


def test_spans_and_figures_are_the_ledgers(shop: Shop, serve: Callable[..., Served]) -> None:
    """One for the run and one for each task within it, equal tasks too; the cost is there once; no prompt, no key."""
    rows = [{"id": name, "image": f"in/{picture}.png"} for name, picture in (("a", "mug"), ("b", "mug"), ("c", "shoe"))]
    shop.table("rows.csv", rows)
    serve().manifest(
        shop,
        defaults=f"{{prompt: '{PROMPT}', quality: low, output: '{{{{ id }}}}.png'}}",
        rows="sources: [{csv: rows.csv}]\n",
    )
    spans, metrics, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    tracing = Tracing(tracers, MeterProvider([metrics]), environment={"TRACEPARENT": parent})
    plan = make_plan(load_manifest("night.yaml"), out="out")
    with tracing.run(plan.workspace.ledger, plan.manifest.name, rehearsal=plan.rehearsal) as traced:
        with Pump(plan.workspace.ledger, None, [traced], lambda words: pytest.fail(words)):
            summary = run_plan_sync(plan)
        traced.finish(summary)
    data = metrics.get_metrics_data()
    assert data is not None
    *tasks, run = spans.get_finished_spans()
    assert run.name == "batchedit run"
    assert run.parent is not None
    assert f"{run.parent.span_id:016x}" == "b7ad6b7169203331"
    assert run.attributes is not None
    assert (run.attributes["batchedit.exit_code"], run.status.status_code) == (0, StatusCode.OK)
    spent, _ = in_ledger(shop)
    assert run.attributes["batchedit.spent_microusd"] == spent
    found = {str((span.attributes or {})["batchedit.task"]): dict(span.attributes or {}) for span in tasks}
    assert set(found) == {"a/edit", "b/edit", "c/edit"}
    assert sum(int(str(each["batchedit.cost_microusd"])) for each in found.values()) == spent
    assert [each["batchedit.shared"] for each in found.values()].count(True) == 1
    for span in tasks:
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert 0 < span.end_time - span.start_time < 60e9
    assert {each["batchedit.state"] for each in found.values()} == {"done"}
    (scope,) = data.resource_metrics[0].scope_metrics
    sums: dict[str, Any] = {metric.name: list(metric.data.data_points) for metric in scope.metrics}
    assert sum(point.value for point in sums["batchedit.tasks"]) == 3
    assert sum(point.value for point in sums["batchedit.cost"]) == spent
    assert sum(point.count for point in sums["batchedit.task.duration"]) == 3
    said = "".join(span.to_json() for span in (*tasks, run)) + data.to_json()
    assert PROMPT not in said
    assert KEY not in said
    assert "http" not in said.replace("http_status", "")
    assert tracing.close()


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server that takes what OTLP over HTTP sends."""
    calls: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            calls.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


@pytest.mark.parametrize("as_job", [False, True])
def test_a_real_receiver_gets_them_by_the_standard_variables(
    cli: Cli, shop: Shop, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, as_job: bool,
    receiver: tuple[str, list[tuple[str, dict[str, str], bytes]]],
) -> None:  # fmt: skip
    """From `run` and from `job run`; failures have their class."""
    url, calls = receiver
    serve(Faults(failed_moderation=1.0)).manifest(shop, defaults=f"{{prompt: '{PROMPT}', quality: low}}")
    shop.write("job.yaml", "job: 1\nmanifests: [night.yaml]\n")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=studio")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "catalog")
    result = cli(*(["job", "run", "job.yaml"] if as_job else ["run", "night.yaml", "-y"]), "--otel")
    assert result.code == 3
    assert "not delivered" not in result.err
    spans = []
    for path, headers, body in calls:
        assert headers["x-team"] == "studio"
        assert KEY.encode() not in body
        assert PROMPT.encode() not in body
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert names["service.name"] == "catalog"
                spans += [span for scope in resource.scope_spans for span in scope.spans]
    tasks = [span for span in spans if span.name == "batchedit task"]
    (run,) = [span for span in spans if span.name == "batchedit run"]
    assert len(tasks) == 3
    assert {span.parent_span_id for span in tasks} == {run.span_id}
    for span in tasks:
        found = {each.key: each.value for each in span.attributes}
        assert found["batchedit.state"].string_value == "failed"
        assert found["error.type"].string_value
    metrics = [ExportMetricsServiceRequest.FromString(body) for path, _, body in calls if path == "/v1/metrics"]
    named = {m.name for each in metrics for r in each.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert named >= {"batchedit.tasks", "batchedit.cost", "batchedit.task.duration"}


def test_nobody_there_changes_nothing(cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the exit code nor what is made; it is said once, without the address."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}/?token=canary-77")
    result = cli("run", jobs, "--otel")
    assert result.code == 0
    assert result.err.count("some telemetry was not delivered") == 1
    assert "canary-77" not in result.err
    assert "Traceback" not in result.err
    assert len(shop.outputs()) == 3


def test_it_is_off_unless_asked(cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without the extra the error names it: exit code 2, nothing begun."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    result = cli("run", jobs, "--out", "new", "--otel")
    assert result.code == 2
    assert 'pip install "batchedit[otel]"' in result.err
    assert shop.outputs("new") == []
    monkeypatch.setenv("BATCHEDIT_OTEL", "1")
    assert cli("run", jobs).code == 2
    monkeypatch.setenv("BATCHEDIT_OTEL", "0")
    assert cli("run", jobs).code == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "is not one of otlp, console, none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "set it to http/protobuf"),
    ],
)
def test_what_there_is_not_is_said(
    cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """Exit code 2 before anything is sent."""
    monkeypatch.setenv(name, value)
    result = cli("run", jobs, "--otel")
    assert (result.code, words in result.err) == (2, True), result.err


def test_the_console_is_stderr(cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the answer stays alone on stdout."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    result = cli("run", jobs, "--otel", "--json")
    assert result.json()["exit_code"] == 0
    assert '"batchedit task"' in result.err
