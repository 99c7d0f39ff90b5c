"""What the owner of the key allows to be bought at all, whatever a manifest says. It can only take away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from batchedit.configuration import Value
from batchedit.errors import UsageError
from batchedit.money import MicroUSD, format_usd, parse_usd
from batchedit.planned import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """
    Limits from settings.

    Attributes:
        models: Names or patterns such as ``openai/*``; empty for any.
        request: The highest price of one request, in micro-dollars; None for any.
        models_in, request_in: Where that is set, for messages.
    """

    models: tuple[str, ...] = ()
    request: MicroUSD | None = None
    models_in: str = ""
    request_in: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Allowance:
        """That of settings by name."""
        models, most = values["allow_models"], values["max_request_cost"]
        return cls(
            models=tuple((models.value or "").split()),
            request=None if most.value is None else parse_usd(most.value),
            models_in=f"allow_models ({models.origin}: {models.where})",
            request_in=f"max_request_cost ({most.origin}: {most.where})",
        )

    def check(self, plan: Plan) -> None:
        """
        Make sure that all a plan would buy is allowed. A rehearsal's money is nobody's.

        Raises:
            UsageError: for the first thing that is not.
        """
        if plan.rehearsal or not plan.figures.purchases:
            return
        model, figures = plan.settings.model, plan.figures
        if self.models and not any(fnmatchcase(model, pattern) for pattern in self.models):
            raise UsageError(
                f"{plan.manifest.source}: the model {model} is not among those that your settings allow",
                hint=f"allowed are: {', '.join(self.models)}; see {self.models_in}",
            )
        if self.request is not None and figures.dearest > self.request:
            raise UsageError(
                f"{figures.dearest_place}: one request may cost {format_usd(figures.dearest)}, and your settings allow"
                f" {format_usd(self.request)}",
                hint=f"choose a lower quality, a smaller size or fewer pictures, or change {self.request_in}",
            )


ANYTHING = Allowance()
"""Nothing is taken away."""
