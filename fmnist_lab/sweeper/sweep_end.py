"""Why a sweep ended: a value that code decides by, and the sentence that a person reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class EndReason(StrEnum):
    """Why no more trials start. All but the last two are keys of `hydra.sweeper`."""

    N_TRIALS = "n_trials"
    MAX_EPOCHS = "max_epochs"
    TARGET = "target"
    PLATEAU = "plateau"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def is_cut_short(self) -> bool:
        """Whether trials are missing that the budgets allow."""
        return self in (EndReason.TIMEOUT, EndReason.INTERRUPTED, EndReason.FAILED)


@dataclass(frozen=True)
class BudgetEnd:
    """The setting that a strategy has reached, its limit, and where the strategy stands."""

    reason: EndReason
    limit: float
    reached: float  # seconds, epochs, trials, or the objective


@dataclass(frozen=True)
class SweepEnd:
    """The end of a sweep, as observers get it and `optimization_results.yaml` keeps it.

    Args:
        reason: Of several, one that cuts the sweep short comes first.
        done: Trials that count.
        n_trials: Trials that were asked for.
        strategies: The end of each strategy; the key is empty where there are no strategies.
        error: The class of the error for the reason `failed`.
    """

    reason: EndReason
    done: int
    n_trials: int
    strategies: Mapping[str, BudgetEnd] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def of_budgets(
        cls, strategies: Mapping[str, BudgetEnd], done: int, n_trials: int
    ) -> "SweepEnd":
        """The end of a sweep in which every strategy has reached a limit."""
        reasons = [end.reason for end in strategies.values()]
        ranked = sorted(
            reasons, key=lambda item: (not item.is_cut_short, item == EndReason.N_TRIALS)
        )
        return cls(ranked[0], done, n_trials, strategies)

    @classmethod
    def read(cls, content: object) -> "SweepEnd | None":
        """Reads what `as_dict` has written; None for a sweep that runs, and for earlier versions.

        Those have written a sentence, which the next start of the sweep replaces.
        """
        if not isinstance(content, Mapping):
            return None
        ends = {
            str(name): BudgetEnd(**(end | {"reason": EndReason(end["reason"])}))
            for name, end in content["strategies"].items()
        }
        reason = EndReason(content["reason"])
        return cls(reason, content["done"], content["n_trials"], ends, content["error"])

    def as_dict(self) -> dict[str, Any]:
        """The end as plain values, for YAML."""
        plain = asdict(self)
        for end in (plain, *plain["strategies"].values()):
            end["reason"] = str(end["reason"])
        return plain

    @property
    def budgets(self) -> dict[EndReason, list[str]]:
        """The limits other than `n_trials` that ended strategies, and the names of these."""
        found: dict[EndReason, list[str]] = {}
        for name, end in self.strategies.items():
            if end.reason != EndReason.N_TRIALS:
                found.setdefault(end.reason, []).append(name)
        return found

    def __str__(self) -> str:
        """A sentence without its full stop, such as `Stopped by hydra.sweeper.timeout=20 ...`."""
        left = max(0, self.n_trials - self.done)
        missing = f"{left} of {self.n_trials} trials are left"
        if self.reason == EndReason.FAILED:
            return f"Failed with {self.error}: {missing}"
        if self.reason == EndReason.INTERRUPTED:
            return f"Interrupted: {missing}"
        if self.reason == EndReason.N_TRIALS:
            return f"All {self.done} trials are done"
        stops = " and ".join(self._stop(*found) for found in self.budgets.items())
        return f"Stopped by {stops}: {missing}"

    def _stop(self, reason: EndReason, names: list[str]) -> str:
        ends = [self.strategies[name] for name in names]
        # The limit says it all where trials or an objective are counted.
        after = (
            f" after {max(end.reached for end in ends):.0f} s"
            if reason == EndReason.TIMEOUT
            else ""
        )
        whose = f" ({', '.join(names)})" if any(names) and len(names) < len(self.strategies) else ""
        return f"hydra.sweeper.{reason}={ends[0].limit:g}{after}{whose}"
