"""Overrides, read without Hydra."""

import math
from pathlib import Path

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.results import overrides


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


@pytest.mark.parametrize(
    ("name", "content", "got"),
    [
        ("overrides.yaml", "{bad", "no YAML"),
        ("overrides.yaml", "a: 1", '{"a": 1}'),
        ("config.yaml", "[1]", "[1]"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: str, got: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=f"{name}` ") as e:
        overrides.from_hydra(tmp_path)
    assert got in f"{e.value}"


@pytest.mark.parametrize("content", ["", "stopping: none"])
def test_a_configuration_without_early_stopping(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    assert overrides.from_hydra(tmp_path)["stopping"] == "none"
