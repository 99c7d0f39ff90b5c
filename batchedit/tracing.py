"""
OpenTelemetry: a span for a run, one within it for each task, and figures; from the changes that the ledger tells.

No prompt, no address and no key is in any of it. What is sent where is said by the standard variables OTEL_*; sending
happens in threads of the SDK, and whether it works changes neither how a run ends nor how fast it is.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from batchedit.effects import unix
from batchedit.ending import RunSummary
from batchedit.errors import UsageError
from batchedit.ledger.reader import Ledger
from batchedit.ledger.tail import Change
from batchedit.lifecycle import ENDS, State
from batchedit.redaction import redact

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_NAME = "batchedit"
_PATIENCE_SECONDS = 3.0
"""So long the end of a run waits for what is still to be sent."""
_MOST_OPEN = 100_000


class Tracing:
    """
    Where spans and figures go.

    Args:
        tracers, meters: Providers of the SDK, which are shut down by `close`.
        environment: For ``TRACEPARENT``, the trace of whoever has started this.
    """

    def __init__(
        self, tracers: TracerProvider, meters: MeterProvider, *, environment: Mapping[str, str] | None = None
    ) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracers, self._meters = tracers, meters
        self._tracer = tracers.get_tracer(_NAME, version("batchedit"))
        meter = meters.get_meter(_NAME, version("batchedit"))
        self._tasks = meter.create_counter("batchedit.tasks", "{task}", "Tasks that came to an end, by state.")
        self._cost = meter.create_counter("batchedit.cost", "{microusd}", "What was billed, in micro-dollars.")
        self._seconds = meter.create_histogram("batchedit.task.duration", "s", "From sending to the end, by state.")
        carrier = {"traceparent": (environment or {}).get("TRACEPARENT", "")}
        self._parent = TraceContextTextMapPropagator().extract(carrier)

    @contextmanager
    def run(self, ledger: Path, manifest: str, *, rehearsal: bool) -> Iterator[RunTrace]:
        """The span of one run; its `RunTrace` is a sink for the changes, and is told of the end."""
        with self._tracer.start_as_current_span(
            "batchedit run", context=self._parent, record_exception=False, set_status_on_exception=False
        ) as span:
            span.set_attributes({"batchedit.manifest": redact(manifest), "batchedit.rehearsal": rehearsal})
            yield RunTrace(self, ledger, span, rehearsal=rehearsal)

    def close(self) -> bool:
        """Send what is left, for a few seconds at most; False if that was not enough."""

        def shut_down() -> None:
            self._tracers.shutdown()
            self._meters.shutdown()

        # Left behind if nobody answers: an exporter tries again for as long as it likes.
        thread = threading.Thread(target=shut_down, daemon=True, name="batchedit otel")
        thread.start()
        thread.join(_PATIENCE_SECONDS)
        return not thread.is_alive()


class RunTrace:
    """
    The tasks of one run as spans, and its figures.

    Args:
        span: The run's.
    """

    def __init__(self, tracing: Tracing, ledger: Path, span: Span, *, rehearsal: bool) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracing, self._ledger, self._span = tracing, ledger, span
        self._context: Context = set_span_in_context(span)
        self._begun: dict[str, str] = {}
        self._rehearsal = rehearsal

    def __call__(self, ledger_id: str, changes: Iterable[Change]) -> None:
        """As a sink of `events.Pump`."""
        for change in changes:
            if change.event == "begin" and len(self._begun) < _MOST_OPEN:
                self._begun.setdefault(change.request, change.at)
            if change.after in ENDS:
                self._ended(change, self._begun.pop(change.request, change.at))

    def finish(self, summary: RunSummary) -> None:
        """Tell the run's span how it ended."""
        from opentelemetry.trace import Status, StatusCode

        states = {f"batchedit.{state}": count for state, count in summary.states.items() if count}
        self._span.set_attributes(
            {
                "batchedit.run": summary.run_id,
                "batchedit.exit_code": int(summary.exit_code),
                "batchedit.spent_microusd": summary.spent,
                "batchedit.at_risk_microusd": summary.at_risk,
                **states,
            }
        )
        self._span.set_status(Status(StatusCode.ERROR if summary.exit_code else StatusCode.OK))

    def _ended(self, change: Change, begun: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        slots = [change.slot]
        if change.tasks > 1:  # equal tasks share a request: the first one bears its cost
            with closing(Ledger(self._ledger)) as ledger:
                slots = [slot for slot, _ in ledger.tasks_of(change.request)]
        start, end = unix(begun), unix(change.at)
        for number, slot in enumerate(slots):
            cost = change.cost if number == 0 else 0
            shown: dict[str, str | int | bool] = {
                "batchedit.task": redact(slot),
                "batchedit.state": change.after,
                "batchedit.attempts": change.attempt or 0,
                "batchedit.shared": number > 0,
            }
            if cost is not None:
                shown |= {"batchedit.cost_microusd": cost, "batchedit.cost_basis": change.basis}
            if change.code:
                shown["error.type"] = redact(change.code)
            span = self._tracing._tracer.start_span(
                "batchedit task", context=self._context, start_time=int(start * 1e9), attributes=shown
            )
            if change.after != State.DONE:
                span.set_status(Status(StatusCode.ERROR, change.after))
            span.end(int(end * 1e9))
            state: dict[str, str | bool] = {"batchedit.state": change.after, "batchedit.rehearsal": self._rehearsal}
            self._tracing._tasks.add(1, state)
            self._tracing._cost.add(cost or 0, state)
            self._tracing._seconds.record(max(0.0, end - start), state)


@contextmanager
def tracing_by(environment: Mapping[str, str], on_trouble: Callable[[str], None]) -> Iterator[Tracing]:
    """
    Spans and figures to where the standard variables OTEL_* say.

    Args:
        on_trouble: Told once if something does not arrive; nothing else comes of that.

    Raises:
        UsageError: without the extra, or for variables that ask for what there is not.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401  the part that is missed first
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "OpenTelemetry needs packages that are not installed", hint='pip install "batchedit[otel]"'
        ) from None
    spans, metrics = _span_exporter(environment), _metric_reader(environment, PeriodicExportingMetricReader)
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": version("batchedit"), **({} if named else {"service.name": _NAME})}
    try:
        resource = Resource.create(own)
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if spans is not None:
            tracers.add_span_processor(BatchSpanProcessor(spans))
        meters = MeterProvider(metrics, resource, shutdown_on_exit=False)
    except ValueError as error:
        raise UsageError(f"a variable OTEL_* is wrong: {redact(str(error))}") from None
    with _listening() as troubles:
        tracing = Tracing(tracers, meters, environment=environment)
        try:
            yield tracing
        finally:
            arrived = tracing.close()
            if troubles or not arrived:
                on_trouble("some telemetry was not delivered (OTEL_EXPORTER_OTLP_ENDPOINT)")


def _span_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    match _chosen(environment, "TRACES"):
        case "none":
            return None
        case "console":
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter

            return ConsoleSpanExporter(out=sys.stderr)
        case _:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter()


def _metric_reader(environment: Mapping[str, str], reader: Callable[..., MetricReader]) -> tuple[MetricReader, ...]:
    match _chosen(environment, "METRICS"):
        case "none":
            return ()
        case "console":
            from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

            return (reader(ConsoleMetricExporter(out=sys.stderr)),)
        case _:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            return (reader(OTLPMetricExporter()),)


def _chosen(environment: Mapping[str, str], signal: str) -> str:
    variable = f"OTEL_{signal}_EXPORTER"
    name = environment.get(variable, "") or "otlp"
    if name not in ("otlp", "console", "none"):
        raise UsageError(f"{variable}: {redact(name)!r} is not one of otlp, console, none")
    for protocol in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        text = environment.get(protocol, "") or "http/protobuf"
        if name == "otlp" and text != "http/protobuf":
            raise UsageError(f"{protocol}: {redact(text)!r} is not spoken here", hint="set it to http/protobuf")
    return name


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What the SDK complains of, instead of its lines on stderr, which may hold addresses with secrets."""
    troubles: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                troubles.append(record.name)

    logger, listener = logging.getLogger("opentelemetry"), Listener()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield troubles
    finally:
        logger.removeHandler(listener)
        if not troubles:  # else a thread that was left behind would still complain to everybody
            logger.propagate = before
        else:
            logger.addHandler(logging.NullHandler())
