"""No value of any key ends in a traceback: there is a trial, or one sentence about the key.

The keys come from the files in `conf/`, so that a new one is tried, too.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config
from fmnist_lab.errors import MOST_CHARACTERS, RequestError
from fmnist_lab.training.engines import building
from fmnist_lab.trial import Trial

pytestmark = pytest.mark.slow

CONF = Path(config.config_dir())
LAID_OVER = ("recipe", "best", "hydra")  # whose files have keys of the other groups
OPTIONS = [
    (path.parent.name, path.stem)
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in LAID_OVER
]
OPEN = ("architecture", "optimizer", "scheduler")  # families without a schema
VALUES: list[Any] = [
    None, "", "word", "Ünï ✓ 名", "a/../b", "???", "${nope}", "${oc.env:HOME}", "x" * 5000,
    True, -1, 0, 1, 0.5, 3, -2.5, 1e300, 1e-300, 10**30, -(10**400), math.nan, math.inf, -math.inf,
    [], [1, 2], [math.nan], [[1], ["a"]], {}, {"a": {"b": [1]}},
]  # fmt: skip
MODELS = [None, "word", True, -1, 10**30, math.nan, [10**9], [["a"]]]


@lru_cache(maxsize=1)
def defaults() -> DictConfig:
    return config.compose(["tracking.uri=http://127.0.0.1:1"])


@lru_cache
def composed(group: str, option: str) -> DictConfig:
    """The defaults with another option, as Hydra would compose them."""
    cfg = defaults().copy()
    if group:
        OmegaConf.set_struct(cfg, False)
        chosen = OmegaConf.load(CONF / group / f"{option}.yaml")
        OmegaConf.update(cfg, group, chosen, merge=group not in OPEN)
    return cfg


def leaves(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and len(child):
            yield from leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@lru_cache(maxsize=1)
def keys() -> list[tuple[str, str, str]]:
    found = [("", "", key) for key in leaves(defaults()) if "." not in key or "objective" in key]
    for group, option in OPTIONS:
        own = OmegaConf.load(CONF / group / f"{option}.yaml")
        assert isinstance(own, DictConfig)
        found += [(group, option, f"{group}.{key}") for key in leaves(own)]
    return found


def answer(cfg: DictConfig, key: str, value: Any) -> Trial | str:
    """The trial, built as far as no training is needed, or the sentence."""
    group = key.partition(".")[0]
    try:
        try:
            OmegaConf.update(cfg, key, value, merge=False)
        except Exception as error:  # `compose` answers in the same words, Hydra's own
            return f"`{group}` must have another value: {config.refusal(error)}"
        trial = config.to_trial(cfg)
        config.to_tracking(cfg)
        config.refuse_password(cfg)
        if group in ("optimizer", "clipping"):
            building.build_optimizer(trial)
        if group == "architecture" and ".space" not in key:  # a space is no part of a trial
            building.build_model(trial)
    except RequestError as refused:
        return str(refused)
    return trial


def is_sentence(text: str, key: str) -> bool:
    group = key.partition(".")[0]
    # A value that others are computed from may be found by them: the epochs by the scheduler.
    named = f"`{group}" in text or "`scheduler" in text
    return named and " must " in text and "\n" not in text and len(text) <= MOST_CHARACTERS + 10


@pytest.mark.parametrize("group", sorted({"", *(group for group, _ in OPTIONS)}))
def test_any_value_of_any_key_gives_a_trial_or_a_sentence(group: str) -> None:
    tried, values = 0, MODELS if group == "architecture" else VALUES  # models take their time
    own = [entry for entry in keys() if entry[0] == group]
    # Every value meets every key of a small group; in a large one, every fourth key.
    stride = 4 if len(own) > len(VALUES) else 1
    for place, (of, option, key) in enumerate(own):
        cfg = composed(of, option).copy()  # each value takes the place of the one before
        for value in values[place % stride :: stride]:
            given = answer(cfg, key, value)
            tried += 1
            if isinstance(given, str):
                assert is_sentence(given, key), (option, key, value, given)
    assert tried >= len(values)


TEXTS = st.one_of(
    st.sampled_from(["", "''", "null", "nan", "-inf", "[1,[2]]", "{a: {b: 1}}", "${nope}", "???",
                     "'${oc.env:HOME}'", "1,2", "x=y", "../x", "9" * 500, "[", "interval(2,1)"]),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
)  # fmt: skip


@settings(max_examples=15)
@given(data=st.data())
def test_so_does_any_override(data: st.DataObject) -> None:
    group, option, key = data.draw(st.sampled_from(keys()))
    key += data.draw(st.sampled_from(["", "", "", "s", ".more", "@x", " "]))
    sign = data.draw(st.sampled_from(["", "", "", "+", "++", "~"]))
    override = f"{sign}{key}={data.draw(TEXTS)}"
    try:
        cfg = config.compose([f"{group}={option}", override] if group else [override])
        given: Trial | str = config.to_trial(cfg)
    except RequestError as refused:
        given = str(refused)
    if isinstance(given, str):
        assert given, override
        assert "\n" not in given
