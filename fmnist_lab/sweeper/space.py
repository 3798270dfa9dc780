"""Search spaces: overrides in, distributions out, and suggestions back into overrides."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from fmnist_lab.foundation.spelling import spell, spell_custom
from fmnist_lab.sweeper.ranges import Range, snap
from fmnist_lab.sweeper.settings import SweepRequestError

_CAST = re.compile(r"\s*(int|float)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True)
class Searched:
    """One searched key: what may be suggested, and how choices are spelled as overrides."""

    distribution: BaseDistribution
    spellings: Mapping[Any, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError or OverflowError for an interval from which nothing can be drawn."""
        if isinstance(self.distribution, CategoricalDistribution):
            return
        low, high = (getattr(self.distribution, end) for end in ("low", "high"))
        if not math.isfinite(float(high) - float(low)):
            raise ValueError("its ends must be finite numbers, at a finite distance")

    def value(self, suggested: Any) -> Any:
        """The suggestion without binary dust."""
        if isinstance(self.distribution, FloatDistribution):
            return snap(suggested, self.distribution)
        return suggested

    def spell(self, suggested: Any) -> str:
        """The suggestion as the right side of an override."""
        # A list is suggested as a string, but must arrive as a list: choices know their spelling.
        if isinstance(suggested, str) and suggested in self.spellings:
            return self.spellings[suggested]
        return spell(self.value(suggested))


@dataclass(frozen=True)
class Space:
    """What every trial is made of: searched keys, fixed overrides, deletions."""

    searched: Mapping[str, Searched]
    fixed: Mapping[str, str]
    deletions: Sequence[str] = ()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each searched key."""
        return {name: searched.distribution for name, searched in self.searched.items()}

    def describe(self) -> dict[str, str]:
        """The search space as plain text, to recognise it by."""
        return {
            name: distribution_to_json(dist) for name, dist in sorted(self.distributions.items())
        }

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a trial as they are sent to its job."""
        return {
            name: self.searched[name].value(value) if name in self.searched else value
            for name, value in params.items()
        }

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of the job that tries these parameters."""
        searched = [
            f"{name}={self.searched[name].spell(value)}"
            if name in self.searched
            else f"{name}={spell_custom(value)}"
            for name, value in params.items()
        ]
        return [*searched, *(f"{k}={v}" for k, v in self.fixed.items()), *self.deletions]


def described(search_space: Mapping[str, Any] | None) -> dict[str, Searched]:
    """Reads the mapping from key to type, low, high, log, step, choices of the 1.3 plugin."""
    found = {}
    for key, item in (search_space or {}).items():
        try:
            found[key] = Searched(_described(dict(item)))
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise SweepRequestError(
                f"`hydra.sweeper.search_space.{key}` must be a distribution, got {item}: {error}."
            ) from error
    return found


def _described(item: dict[str, Any]) -> BaseDistribution:
    kind, log, step = str(item["type"]), bool(item.get("log")), item.get("step")
    if kind == "categorical":
        return CategoricalDistribution(list(item["choices"]))
    if kind == "int":
        return IntDistribution(int(item["low"]), int(item["high"]), log, int(step or 1))
    return FloatDistribution(item["low"], item["high"], log, step)


def parse(
    overrides: Sequence[str],
    config_loader: ConfigLoader | None = None,
    known: Mapping[str, Searched] | None = None,
) -> Space:
    """Reads overrides, in which a later one replaces an earlier one, or one that is `known`.

    Raises:
        SweepRequestError: A range or interval cannot be searched.
    """
    parser = OverridesParser.create(config_loader=config_loader)
    found: dict[str, Searched | str] = dict(known or {})
    deletions = []
    for override in parser.parse_overrides(list(overrides)):
        if override.is_delete():
            deletions.append(str(override.input_line))
            continue
        key = override.get_key_element()
        found.pop(key, None)
        found[key] = _read(override, parser)
    searched = {key: item for key, item in found.items() if isinstance(item, Searched)}
    fixed = {key: item for key, item in found.items() if isinstance(item, str)}
    return Space(searched, fixed, deletions)


def _read(override: Override, parser: OverridesParser) -> Searched | str:
    if not override.is_sweep_override():
        return override.get_value_element_as_str()
    try:
        if override.is_choice_sweep():
            return _choices(override)
        if override.is_range_sweep():
            return Searched(_range(override, parser))
        return Searched(_interval(override.value()))
    except (ValueError, AssertionError, ArithmeticError) as error:
        raise SweepRequestError(
            f"`{override.get_key_element()}` must be something that can be searched, "
            f"got {override.get_value_string()}: {str(error).rstrip('.')}."
        ) from error


def _choices(override: Override) -> Searched:
    spellings: dict[Any, str] = {}
    choices: list[Any] = []
    sweep = override.value()
    # Optuna wants the choices in the same order when a study continues, so no shuffling.
    elements = sweep.list if isinstance(sweep, ChoiceSweep) else override.sweep_iterator()
    for element in elements:
        plain: Any = element.text if isinstance(element, QuotedString) else element
        if isinstance(plain, list | dict):
            plain = Transformer.str(plain)
            spellings[plain] = plain
        if not any(type(plain) is type(other) and plain == other for other in choices):
            choices.append(plain)
    return Searched(CategoricalDistribution(choices), spellings)


def _range(override: Override, parser: OverridesParser) -> BaseDistribution:
    sweep = override.value()
    assert isinstance(sweep, RangeSweep)
    cast = _CAST.fullmatch(override.get_value_string())
    if cast and (inner := _inner_range(cast[2], parser)):
        # Hydra 1.3 casts the ends and the step; what was asked for is each value, cast.
        kind = int if cast[1] == "int" else float
        return CategoricalDistribution(list(dict.fromkeys(map(kind, Range(inner).values()))))
    values = Range(sweep)
    if sweep.shuffle:
        return CategoricalDistribution(values.values())
    return values.distribution()


def _inner_range(text: str, parser: OverridesParser) -> RangeSweep | None:
    try:
        inner = parser.parse_override(f"key={text}").value()
    except HydraException:
        return None
    return inner if isinstance(inner, RangeSweep) else None


def _interval(sweep: object) -> BaseDistribution:
    assert isinstance(sweep, IntervalSweep)
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
