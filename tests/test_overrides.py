"""Overrides, read without Hydra."""

import math
from pathlib import Path

import pytest

from fmnist_lab import overrides


def test_what_is_private_makes_no_other_trial() -> None:
    given = ["seed=1", "hydra.job.num=3", "hydra/launcher=dask", "tracking=none", "+tracking.uri=x",
             "~scheduler.space", "trackings.a=1"]  # fmt: skip
    assert overrides.asked(given) == ["seed=1", "~scheduler.space", "trackings.a=1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("1e-3", 0.001), ("-2.5", -2.5), ("true", "true"), ("null", None), ("", None),
        ("cosine", "cosine"), ("'a b'", "a b"), ('"1"', "1"), ("[1,2]", "[1,2]"),
        ("1_000", "1_000"), ("a=b", "a=b"), ("'", "'"), ("inf", math.inf),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    assert overrides.read([f"x.y={text}"]) == {"x.y": value}


def test_keys() -> None:
    given = ["+a.b=1", "++c=2", "~d", "~e=3", "a.b=4", "sweeps=demo"]
    assert overrides.read(given) == {"a.b": 4.0, "c": 2.0}


def test_a_folder_without_hydras_files(tmp_path: Path) -> None:
    assert overrides.from_hydra(tmp_path) == {"stopping": "none", "overrides": []}
