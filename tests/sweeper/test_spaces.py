"""What a configuration's nodes want searched, and that all of it can be trained."""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fmnist_lab import config, schedules
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.space import Space, collect, parse
from fmnist_lab.training.engines import building
from fmnist_lab.trial import Trial

GROUPS = ("architecture", "optimizer", "scheduler", "clipping", "averaging")
OPTIONS = [(group, option) for group in GROUPS for option in config.options(group)]
EMPTY = {"notebook", "none", "constant", "linear", "cosine"}
FLAT = dict.fromkeys(("train/loss", "train/accuracy", "val/loss", "val/accuracy"), 1.0)


class TestCollect:
    """Any application's configuration."""

    @staticmethod
    def made(**space: Any) -> DictConfig:
        node = {"a": 1, "b": None, "c": "???", "deep": {"d": 1}, "space": space}
        return OmegaConf.create({"length": 5, "node": node, "other": {"e": 1}})

    def test_keys_become_absolute_and_interpolations_values(self) -> None:
        made = self.made(a="interval(0,${length})", b="1,2", c="range(3)")
        made.other.space = {"e": "choice([${length},1],[${node.a},2])"}
        expected = {
            "node.a": "interval(0,5)",
            "node.b": "1,2",
            "node.c": "range(3)",
            "other.e": "choice([5,1],[1,2])",
        }
        assert collect(made, ["node", "other"]) == expected
        assert collect(made, ["other"]) == {"other.e": expected["other.e"]}

    def test_keys_and_nodes_may_lie_deeper(self) -> None:
        made = self.made(**{"deep.d": "range(3)"})
        assert collect(made, ["node"]) == {"node.deep.d": "range(3)"}
        made.node.deep.space = {"d": "range(2)"}
        assert collect(made, ["node.deep"]) == {"node.deep.d": "range(2)"}

    def test_a_node_without_a_space_adds_nothing(self) -> None:
        made = self.made()
        OmegaConf.set_struct(made, True)
        assert collect(made, ["node", "other"]) == {}
        assert collect(made, []) == {}

    def test_a_number_fixes_its_key(self) -> None:
        found = collect(self.made(a=2.5, b="${length}"), ["node"])
        assert parse([f"{key}={text}" for key, text in found.items()]).fixed == {
            "node.a": "2.5",
            "node.b": "5",
        }

    def test_a_space_may_be_shared(self) -> None:
        made = self.made(a="range(3)")
        made.twin = {"a": 1, "space": "${node.space}"}
        assert collect(made, ["twin"]) == {"twin.a": "range(3)"}

    @pytest.mark.parametrize(
        ("node", "space", "key", "got"),
        [
            ("nope", {}, "hydra.sweeper.spaces", "'nope'"),
            ("node.a", {}, "hydra.sweeper.spaces", "'node.a'"),
            ("node.b", {}, "hydra.sweeper.spaces", "'node.b'"),
            ("node", {"typo": "x"}, "node.space.typo", ""),
            ("node", {"deep.e": "x"}, "node.space.deep.e", ""),
            ("node", {"a.e": "x"}, "node.space.a.e", ""),
            ("node", {"space": "x"}, "node.space.space", ""),
            ("node", {"a": None}, "node.space.a", "None"),
            ("node", {"a": [1, 2]}, "node.space.a", "[1, 2]"),
            ("node", {"a": {"b": 1}}, "node.space.a", "{'b': 1}"),
            ("node", {"a": "${nope}"}, "node.space", "'nope'"),
            ("node", {"a": "???"}, "node.space", ""),
        ],
    )
    def test_what_is_no_space_is_refused(
        self, node: str, space: Mapping[str, Any], key: str, got: str
    ) -> None:
        with pytest.raises(SweepRequestError) as refused:
            collect(self.made(**space), [node])
        assert refused.value.key == key
        assert got in refused.value.got
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("space", ["interval(0,1)", 3, None, ["a"]])
    def test_a_space_must_be_a_mapping(self, space: Any) -> None:
        made = self.made()
        made.node.space = space
        with pytest.raises(SweepRequestError, check=lambda error: error.key == "node.space"):
            collect(made, ["node"])


@cache
def composed(group: str, option: str) -> DictConfig:
    return config.compose([f"{group}={option}"])


def of_length(group: str, option: str, epochs: int) -> DictConfig:
    cfg = copy.deepcopy(composed(group, option))
    OmegaConf.update(cfg, "training.epochs", epochs)
    return cfg


def space_of(cfg: DictConfig, *nodes: str) -> Space:
    return parse([f"{key}={text}" for key, text in collect(cfg, nodes).items()])


def changed(cfg: DictConfig, overrides: list[str]) -> Trial:
    """The trial that a job with these overrides would train."""
    for override in OverridesParser.create().parse_overrides(overrides):
        OmegaConf.update(cfg, override.get_key_element(), override.value())
    return config.to_trial(cfg)


def rates(trial: Trial, steps: int = 7) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Every rate of a training whose metrics never improve."""
    scheduler = schedules.build(trial.scheduler)
    found = []
    for epoch in range(trial.training.epochs):
        found.append(scheduler.learning_rates(epoch, steps))
        scheduler.observe(epoch, FLAT)
    return np.concatenate(found)


def suggestions(distribution: BaseDistribution) -> st.SearchStrategy[Any]:
    """Whatever a sampler may suggest, the ends often."""
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, FloatDistribution) and step is None:
        return st.sampled_from([low, high]) | st.floats(low, high)
    count = round((high - low) / (step or 1))
    return st.integers(0, count).map(lambda index: low + index * (step or 1))


def ends(distribution: BaseDistribution) -> list[Any]:
    """The first and the last of what may be suggested."""
    if isinstance(distribution, CategoricalDistribution):
        return [distribution.choices[0], distribution.choices[-1]]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]


class TestOptions:
    """The spaces in `conf/`."""

    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    def test_every_option_states_a_space_of_its_own_keys(self, group: str, option: str) -> None:
        cfg = composed(group, option)
        assert "space" in cfg[group]
        space = space_of(cfg, group)
        assert not space.fixed
        assert bool(space.searched) == (option not in EMPTY)
        assert all(key.startswith(f"{group}.") for key in space.searched)

    @pytest.mark.slow
    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    @settings(max_examples=5)
    @given(data=st.data(), epochs=st.integers(1, 100))
    def test_any_suggestion_can_be_trained(
        self, group: str, option: str, data: st.DataObject, epochs: int
    ) -> None:
        cfg = of_length(group, option, epochs)
        space = space_of(cfg, *GROUPS)
        drawn = {key: data.draw(suggestions(d)) for key, d in space.distributions.items()}
        trial = changed(cfg, space.overrides(drawn))
        for key, value in drawn.items():
            got = OmegaConf.select(OmegaConf.create(trial.as_dict()), key)
            spelt = str(got).replace(" ", "") if OmegaConf.is_list(got) else got
            assert spelt == space.searched[key].value(value)
        learned = rates(trial)
        assert np.isfinite(learned).all()
        assert (learned >= 0).all()
        assert learned.max() > 0 or epochs == 1  # notebook_linear starts at 0

    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    def test_hydra_takes_a_suggestion(self, group: str, option: str) -> None:
        space = space_of(composed(group, option), group)
        first = {key: ends(d)[0] for key, d in space.distributions.items()}
        cfg = config.compose([f"{group}={option}", *space.overrides(first)])
        assert space_of(cfg, group).describe() == space.describe()
        assert config.to_trial(cfg)

    @pytest.mark.parametrize("option", config.options("optimizer"))
    def test_every_optimizer_searches_three_decades_of_rates(self, option: str) -> None:
        cfg = composed("optimizer", option)
        ((key, rate),) = space_of(cfg, "optimizer").distributions.items()
        assert key == "optimizer.learning_rate"
        assert isinstance(rate, FloatDistribution)
        assert rate.log
        assert rate.high / rate.low == pytest.approx(1000)
        assert rate.low * 10 <= cfg.optimizer.learning_rate <= rate.high / 10

    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    def test_what_spans_a_decade_is_searched_by_magnitude(self, group: str, option: str) -> None:
        for key, found in space_of(of_length(group, option, 100), group).distributions.items():
            if isinstance(found, FloatDistribution | IntDistribution):
                spans = found.low > 0 and found.high / found.low >= 10
                assert found.log or not spans, key

    @pytest.mark.parametrize("option", ["value", "norm", "global_norm"])
    def test_a_threshold_is_searched_by_magnitude(self, option: str) -> None:
        found = space_of(composed("clipping", option), "clipping").distributions
        assert list(found) == ["clipping.threshold"]
        threshold = found["clipping.threshold"]
        assert isinstance(threshold, FloatDistribution)
        assert threshold.log
        assert threshold.high / threshold.low == pytest.approx(100)

    @pytest.mark.parametrize("option", config.options("scheduler"))
    def test_a_scheduler_searches_at_most_two_parameters(self, option: str) -> None:
        found = space_of(composed("scheduler", option), "scheduler").distributions
        assert len(found) <= (5 if option == "shape" else 2)
        assert found.keys().isdisjoint({"scheduler.initial_learning_rate", "scheduler.epochs"})

    @pytest.mark.parametrize(
        ("option", "key"),
        [
            ("exponential", "decay_epochs"),
            ("exponential_step", "decay_epochs"),
            ("piecewise", "boundaries"),
            ("power", "decay_epochs"),
            ("wsd", "warmup_epochs"),
            ("notebook_linear", "decay_epochs"),
        ],
    )
    def test_durations_follow_the_length_of_the_training(self, option: str, key: str) -> None:
        def last(epochs: int) -> Any:
            cfg = of_length("scheduler", option, epochs)
            space = space_of(cfg, "scheduler")
            highest = {name: ends(found)[-1] for name, found in space.distributions.items()}
            return np.asarray(changed(cfg, space.overrides(highest)).scheduler[key])

        np.testing.assert_allclose(last(100), 10 * last(10))
        np.testing.assert_allclose(last(10), 10 * last(1))

    @pytest.mark.parametrize(("epochs", "most"), [(3, 2), (20, 5), (100, 25)])
    def test_patience_leaves_time_for_cuts(self, epochs: int, most: int) -> None:
        space = space_of(of_length("scheduler", "performance", epochs), "scheduler")
        assert space.distributions["scheduler.patience"] == IntDistribution(1, most, log=True)

    def test_the_notebooks_rise_ends_where_other_schedules_peak(self) -> None:
        cfg = of_length("scheduler", "notebook_linear", 40)
        space = space_of(cfg, "scheduler")
        (found,) = space.distributions.values()
        trial = changed(cfg, space.overrides({"scheduler.decay_epochs": ends(found)[0]}))
        assert rates(trial)[-1] == pytest.approx(trial.optimizer["learning_rate"] * 39 / 40)

    # The default threshold of value, 0.5, clips next to nothing: not where to search.
    @pytest.mark.parametrize(("group", "option"), sorted({*OPTIONS} - {("clipping", "value")}))
    def test_the_default_lies_in_the_space(self, group: str, option: str) -> None:
        cfg = of_length(group, option, 20)
        for key, found in space_of(cfg, group).distributions.items():
            if not isinstance(found, CategoricalDistribution):
                low, high = ends(found)
                assert low <= OmegaConf.select(cfg, key) <= high, key

    @pytest.mark.slow
    @pytest.mark.parametrize("option", config.options("architecture"))
    def test_the_smallest_and_the_largest_network_can_be_built(self, option: str) -> None:
        cfg = of_length("architecture", option, 3)
        space = space_of(cfg, "architecture")
        for end in (0, -1):
            drawn = {key: ends(found)[end] for key, found in space.distributions.items()}
            assert building.build_model(changed(cfg, space.overrides(drawn)))
