"""Search spaces on file, and importances from what is read back."""

import json
import random
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fmnist_lab.report import importance
from fmnist_lab.sweeper import space, sweep_files
from fmnist_lab.sweeper.plans import Plan


def plan(strategy: str | None, *overrides: str) -> Plan:
    return Plan("night", strategy, space.parse(overrides))


class TestSpaces:
    """`spaces.json`."""

    def test_what_each_strategy_searches(self, tmp_path: Path) -> None:
        sweep_files.write_spaces(
            [
                plan("calm", "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))", "seed=1"),
                plan("wild", "+scheduler.power=range(1, 5)", "clipping=choice(none,norm)"),
                plan("fixed", "seed=1"),
            ],
            tmp_path,
        )
        assert json.loads((tmp_path / "spaces.json").read_text()) == {
            "calm": {"optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True}},
            "wild": {
                "scheduler.power": {"low": 1, "high": 4, "log": False},
                "clipping": {"choices": ["none", "norm"]},
            },
            "fixed": {},
        }

    def test_a_study_without_a_strategy_has_no_name(self, tmp_path: Path) -> None:
        sweep_files.write_spaces([plan(None, "x=interval(0, 1)")], tmp_path)
        assert list(json.loads((tmp_path / "spaces.json").read_text())) == [""]


class TestImportances:
    """Optuna's estimate, from plain values."""

    SPACE: ClassVar[dict[str, Any]] = {
        "rate": {"low": 1e-4, "high": 1.0, "log": True},
        "kind": {"choices": ["a", "b"]},
    }

    def trials(self, count: int) -> list[dict[str, object]]:
        chance = random.Random(0)
        return [
            {"rate": 10 ** chance.uniform(-4, 0), "kind": chance.choice("ab")} for _ in range(count)
        ]

    @pytest.mark.parametrize("maximise", [True, False])
    def test_what_matters_comes_first(self, maximise: bool) -> None:
        trials = self.trials(60)
        scores = [float(str(trial["rate"])) * (1 if maximise else -1) for trial in trials]
        found = importance.importances(trials, scores, self.SPACE, maximise)
        assert list(found) == ["rate", "kind"]
        assert sum(found.values()) == pytest.approx(1)
        assert found["rate"] > 0.8

    def test_trials_without_an_objective_are_left_out(self) -> None:
        trials = self.trials(40)
        scores = [float(str(trial["rate"])) for trial in trials]
        lost = [*scores, float("nan"), float("inf")]
        more = [*trials, *self.trials(2)]
        alone = importance.importances(trials, scores, self.SPACE, True)
        assert importance.importances(more, lost, self.SPACE, True) == alone

    def test_too_little_to_tell(self) -> None:
        few = self.trials(importance.MIN_TRIALS - 1)
        assert importance.importances(few, [0.5] * len(few), self.SPACE, True) == {}
        many = self.trials(40)
        one = {"rate": self.SPACE["rate"]}
        assert importance.importances(many, [0.5] * 40, one, True) == {}
