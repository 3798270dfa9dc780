"""Search spaces: overrides in, distributions out, and suggestions back into overrides."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation.spelling import spell, spell_custom
from fmnist_lab.sweeper.settings import SweepRequestError, plain

MOST_VALUES = 1_000_000  # where all are listed; an interval holds any number
_MOST_STEPS = 10**18  # where none is: Optuna computes with 28 digits


@dataclass(frozen=True)
class Searched:
    """One searched key: what may be suggested, and which choices stand for lists or mappings."""

    distribution: BaseDistribution
    texts: Collection[str] = ()  # suggested as strings, which are overrides already

    def __post_init__(self) -> None:
        """Raises ValueError or OverflowError for an interval from which nothing can be drawn."""
        if isinstance(self.distribution, CategoricalDistribution):
            return
        low, high = (getattr(self.distribution, end) for end in ("low", "high"))
        if not math.isfinite(float(high) - float(low)):
            raise ValueError("its ends must be finite numbers, at a finite distance")

    def value(self, suggested: Any) -> Any:
        """Returns the suggestion as the decimal that Optuna means by 0.30000000000000004."""
        if isinstance(self.distribution, FloatDistribution) and self.distribution.step is not None:
            low, _, step = _decimals(self.distribution)
            return float(low + round((Decimal(str(suggested)) - low) / step) * step)
        return suggested

    @property
    def is_interval(self) -> bool:
        """Whether its ends may be moved: numbers that no step or list holds in place."""
        is_whole = isinstance(self.distribution, IntDistribution)
        return getattr(self.distribution, "step", 0) == (1 if is_whole else None)

    def within(self, low: float, high: float) -> "Searched":
        """Returns it with other ends; those of whole numbers are rounded."""
        log = getattr(self.distribution, "log", False)
        moved: BaseDistribution = FloatDistribution(low, high, log)
        if isinstance(self.distribution, IntDistribution):
            moved = IntDistribution(round(low), round(high), log)
        return replace(self, distribution=moved)

    def spell(self, suggested: Any) -> str:
        """Returns the suggestion as the right side of an override."""
        return suggested if suggested in self.texts else spell(self.value(suggested))


@dataclass(frozen=True)
class Space:
    """The parts of every trial: searched keys, fixed overrides, deletions."""

    searched: Mapping[str, Searched]
    fixed: Mapping[str, str]
    deletions: Sequence[str] = ()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each searched key."""
        return {name: searched.distribution for name, searched in self.searched.items()}

    def fixes(self, key: str) -> bool:
        """Tells whether a key is fixed, whichever of the two is given with a `+`."""
        return key.lstrip("+") in {name.lstrip("+") for name in self.fixed}

    def describe(self) -> dict[str, str]:
        """Returns the search space as plain text, which a continued study is compared by."""
        return {
            name: distribution_to_json(dist) for name, dist in sorted(self.distributions.items())
        }

    def within(self, ends: Mapping[str, Sequence[float]]) -> "Space":
        """Returns the space with other ends, by key, of intervals; of others they are ignored."""
        moved = {
            name: searched.within(*ends[name.lstrip("+")])
            if searched.is_interval and name.lstrip("+") in ends
            else searched
            for name, searched in self.searched.items()
        }
        return replace(self, searched=moved)

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters of a trial as they are sent to its job."""
        return {
            name: self.searched[name].value(value) if name in self.searched else value
            for name, value in params.items()
        }

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Returns the overrides of the job that tries these parameters."""
        spelled = {
            name: self.searched[name].spell(value) if name in self.searched else spell_custom(value)
            for name, value in params.items()
        }
        pairs = [*spelled.items(), *self.fixed.items()]
        return [*(f"{name}={text}" for name, text in pairs), *self.deletions]


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
    searched = dict(known or {})
    fixed: dict[str, str] = {}
    deletions: list[str] = []
    for override in parser.parse_overrides(list(overrides)):
        key, bare = override.get_key_element(), bare_key(override)
        replaced: list[dict[str, Any]] = [searched] if override.is_delete() else [searched, fixed]
        for held in replaced:
            for name in [name for name in held if name.lstrip("+") == bare]:
                del held[name]
                key = name if key == bare else key  # a new key still needs its +
        if override.is_delete():
            deletions.append(str(override.input_line))
            continue
        if override.is_sweep_override():
            searched[key] = _searched(override)
        else:
            fixed[key] = override.get_value_element_as_str()
    return Space(searched, fixed, deletions)


def bare_key(override: Override) -> str:
    """Returns the key of an override without `+`, `++` or `~`."""
    return override.get_key_element().lstrip("+~")


def described(search_space: Mapping[str, Any] | None) -> dict[str, Searched]:
    """Reads the mapping from key to type, low, high, log, step, choices of the 1.3 plugin."""
    found = {}
    for key, given in (search_space or {}).items():
        try:
            # Optuna reads the same mapping, as text.
            found[key] = Searched(json_to_distribution(json.dumps(dict(plain(given)))))
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise SweepRequestError(
                f"hydra.sweeper.search_space.{key}", "be a distribution", given, f"{error}"
            ) from error
    return found


def collect(config: DictConfig, nodes: Sequence[str]) -> dict[str, str]:
    """Reads the search spaces that nodes of a configuration state beside their own keys.

    A node such as `scheduler` may hold a mapping `space`, from keys of its own to values in
    Hydra's grammar for sweeps. An option brings its space along, so that a search over options
    spends no trial on the parameters of an option that is not chosen:

        decay_rate: 0.1
        space:
          decay_rate: tag(log, interval(0.01, 1))

    A number in a space, or a text without a sweep in it, fixes the key in every trial.

    Args:
        config: A composed configuration of any application; its interpolations are resolved.
        nodes: Dotted paths of mappings; one without a space adds nothing.

    Returns:
        Override grammar by absolute key, for `parse`.

    Raises:
        SweepRequestError: A node does not exist, or its space is not one.
    """
    found: dict[str, str] = {}
    for path in nodes:
        try:
            node = OmegaConf.select(config, path)
            if not isinstance(node, DictConfig):
                rule = "name mappings of the configuration"
                raise SweepRequestError("hydra.sweeper.spaces", rule, path)
            space = OmegaConf.select(node, "space", default=OmegaConf.create())
            if not isinstance(space, DictConfig):
                raise SweepRequestError(f"{path}.space", "be a mapping", space)
            stated = OmegaConf.to_container(space, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            reason = Phrase(str(error).splitlines()[0])
            raise SweepRequestError(f"{path}.space", "resolve", reason) from error
        assert isinstance(stated, dict)
        for name, value in stated.items():
            key = f"{path}.space.{name!s}"
            above, _, last = str(name).rpartition(".")
            holder = OmegaConf.select(node, above) if above else node
            # Not `last in holder`, which is false for `???`: a value that only a search gives.
            if not isinstance(holder, DictConfig) or last not in list(holder) or name == "space":
                allowed = ", ".join(str(known) for known in node if known != "space")
                rule, hint = f"be a key of `{path}`", f"allowed keys: {allowed}"
                raise SweepRequestError(key, rule, name, hint)
            if not isinstance(value, str | int | float):
                rule = "be something to search, such as interval(0, 1)"
                raise SweepRequestError(key, rule, value)
            found[f"{path}.{name!s}"] = str(value)
    return found


def range_values(sweep: RangeSweep) -> list[int | float]:
    """Returns all values of `range(start, stop, step)`, exact in decimals; `stop` is not one.

    Raises:
        ValueError, ArithmeticError: There are none, or too many to list.
    """
    kind, start, step, count = _range_parts(sweep)
    if count > MOST_VALUES:
        raise ValueError(f"a range must hold at most {MOST_VALUES} values")
    return [kind(start + index * step) for index in range(count)]


def grid(distribution: BaseDistribution) -> list[Any]:
    """Returns all values of a discrete distribution; ValueError if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if getattr(distribution, "step", None) is None or getattr(distribution, "log", False):
        raise ValueError("a grid needs choices and ranges")
    kind = int if isinstance(distribution, IntDistribution) else float
    low, high, step = _decimals(distribution)
    return [kind(low + index * step) for index in range(int((high - low) / step) + 1)]


def _decimals(distribution: BaseDistribution) -> tuple[Decimal, Decimal, Decimal]:
    low, high, step = (
        Decimal(str(getattr(distribution, name))) for name in ("low", "high", "step")
    )
    return low, high, step


def _searched(override: Override) -> Searched:
    sweep = override.value()
    try:
        if isinstance(sweep, RangeSweep):
            return Searched(_range(sweep))
        if isinstance(sweep, IntervalSweep):
            return Searched(_interval(sweep))
        return _choices(override)
    except (ValueError, AssertionError, ArithmeticError) as error:
        raise SweepRequestError(
            override.get_key_element(),
            "be something that can be searched",
            Phrase(override.get_value_string()),
            f"{error}",
        ) from error


def _choices(override: Override) -> Searched:
    texts: set[str] = set()
    choices: list[Any] = []
    sweep = override.value()
    # Optuna wants the choices in the same order when a study continues, so no shuffling.
    elements = sweep.list if isinstance(sweep, ChoiceSweep) else override.sweep_iterator()
    for element in elements:
        plain: Any = element.text if isinstance(element, QuotedString) else element
        if isinstance(plain, list | dict):
            plain = Transformer.str(plain)
            texts.add(plain)
        if not any(type(plain) is type(other) and plain == other for other in choices):
            choices.append(plain)
    return Searched(CategoricalDistribution(choices), texts)


def _range(sweep: RangeSweep) -> BaseDistribution:
    """Returns a distribution over the values of a range, ends included."""
    if sweep.shuffle:
        return CategoricalDistribution(range_values(sweep))
    kind, start, step, count = _range_parts(sweep)
    low, high = sorted((start, start + (count - 1) * step))
    if kind is int:
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    if any(Decimal(str(float(end))) != end for end in (low, high)):
        return CategoricalDistribution(range_values(sweep))  # more digits than a float has
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def _range_parts(sweep: RangeSweep) -> tuple[type[int | float], Decimal, Decimal, int]:
    """Returns the type of a range's values, the first one, the step, and how many there are."""
    kind = int if isinstance(sweep.range(), range) else float
    start, stop, step = (Decimal(str(end)) for end in (sweep.start, sweep.stop, sweep.step))
    if step == 0:
        raise ValueError("the step of a range must not be zero")
    count = math.ceil((stop - start) / step)
    if count <= 0:
        raise ValueError("a range must hold at least one value")
    if count > _MOST_STEPS:
        raise ValueError("a range must hold at most 1e18 values")
    return kind, start, step, count


def _interval(sweep: IntervalSweep) -> BaseDistribution:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
