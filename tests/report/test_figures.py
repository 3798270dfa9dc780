"""The charts: what they show, and when there is nothing to show."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_lab import report, results
from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.report import figures, style
from fmnist_lab.results import searches
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

RATES = tuple(10 ** (-4.5 + 0.25 * step) for step in range(12))
LEVELS = {"constant": 0.88, "cosine": 0.89}


def gather(place: Path) -> report.Evidence:
    return report.gather(place, results.trials(results.ended(place)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of a sweep with replicates."""
    place = leave_sweep(tmp_path, {"constant": RATES, "cosine": RATES}, LEVELS)
    return leave_replicates(place, {name: paired(level, 8) for name, level in LEVELS.items()})


def traces(figure: Any, name: str | None = None) -> list[Any]:
    assert figure is not None
    return [trace for trace in figure.data if name in (None, trace.name)]


def change_curve(folder: Path, metric: str, *values: float) -> None:
    """Gives a metric of a run other values, an epoch each."""
    path = folder / "curves.jsonl"
    lines = zip(path.read_text().splitlines(), values, strict=True)
    path.write_text("".join(f"{json.dumps(json.loads(x) | {metric: y})}\n" for x, y in lines))


class TestCurves:
    """Over epochs."""

    def test_learning_rates_are_those_of_the_best_trials(self, place: Path) -> None:
        figure = figures.learning_rates(gather(place))
        assert figure is not None
        assert [trace.name for trace in traces(figure)] == ["cosine", "constant"]
        (cosine,) = traces(figure, "cosine")
        assert list(cosine.x) == [1, 2, 3, 4, 5]
        assert list(cosine.y) == pytest.approx([9e-4, 7e-4, 5e-4, 3e-4, 1e-4])
        assert figure.layout.yaxis.type == "log"

    def test_a_rate_of_zero_leaves_a_gap(self, tmp_path: Path) -> None:
        change_curve(leave_run(tmp_path / "sweeps/night/trials/0"), "opt/learning_rate", 0.1, 0.0)
        (trace,) = traces(figures.learning_rates(gather(tmp_path / "sweeps/night")))
        assert trace.y[0] == 0.1
        assert math.isnan(trace.y[1])

    def test_validation_of_replicates(self, place: Path) -> None:
        evidence = gather(place)
        figure = figures.validation(evidence)
        bands = [trace for trace in traces(figure, "cosine") if trace.fill]
        lines = [trace for trace in traces(figure, "cosine") if not trace.fill]
        assert [trace.yaxis for trace in lines] == ["y", "y2"]
        last = evidence.replicate_curves.query("strategy == 'cosine' and epoch == 4")
        assert lines[0].y[-1] == pytest.approx(last["val/accuracy"].mean())
        assert max(bands[0].y) == pytest.approx(last["val/accuracy"].max())
        assert list(lines[0].customdata) == [8] * 5

    def test_validation_of_trials(self, tmp_path: Path) -> None:
        evidence = gather(leave_sweep(tmp_path, {"constant": RATES}, LEVELS))
        band, line = traces(figures.validation(evidence))[:2]
        last = evidence.curves.query("epoch == 4")["val/accuracy"]
        assert line.y[-1] == pytest.approx(last.max())
        assert max(band.y) == pytest.approx(last.quantile(0.75))

    def test_runs_that_have_stopped_are_missing(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, {"constant": RATES}, LEVELS)
        leave_replicates(place, {"constant": [0.9, 0.8]})
        leave_run(place / "replicates/9", kind="replicate", epochs_trained=2, trial=9, seed=9)
        _, line = traces(figures.validation(gather(place)))[:2]
        assert list(line.x) == [1, 2, 3, 4, 5]
        assert list(line.customdata) == [3, 3, 2, 2, 2]

    def test_infinity_is_no_value(self, tmp_path: Path) -> None:
        folder = leave_run(tmp_path / "sweeps/night/trials/0")
        change_curve(folder, "val/loss", 1.0, math.inf)
        figure = figures.validation(gather(tmp_path / "sweeps/night"))
        loss = next(trace for trace in traces(figure) if trace.yaxis == "y2" and not trace.fill)
        assert math.isnan(loss.y[1])


class TestOutcomes:
    """Where runs ended."""

    def test_every_replicate_is_a_dot(self, place: Path) -> None:
        evidence = gather(place)
        figure = figures.test_accuracies(evidence)
        dots = [trace for trace in traces(figure) if len(trace.x) == 8]
        drawn = sorted(float(value) for trace in dots for value in trace.x)
        assert drawn == pytest.approx(sorted(100 * evidence.replicates["test_accuracy"]))
        means = [float(trace.x[0]) for trace in traces(figure) if len(trace.x) == 1]
        assert means == pytest.approx([89.0, 88.0], abs=0.5)
        assert all(trace.error_x.array[0] > 0 for trace in traces(figure) if len(trace.x) == 1)

    def test_a_single_replicate_has_no_interval(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, {"constant": RATES}, LEVELS)
        leave_replicates(place, {"constant": [0.9]})
        assert figures.test_accuracies(gather(place)) is not None

    def test_stopping_epochs(self, tmp_path: Path) -> None:
        place = tmp_path / "sweeps/night"
        ends = (("completed", 5), ("early_stopped", 3), ("diverged", 1), ("early_stopped", 4))
        for number, (reason, epochs) in enumerate(ends):
            leave_run(place / f"trials/{number}", trial=number, stop_reason=reason,
                      epochs_trained=epochs)  # fmt: skip
        figure = figures.stopping_epochs(gather(place))
        drawn = {trace.name: sorted(trace.x) for trace in traces(figure)}
        assert drawn == {
            "completed": [5],
            "early_stopped".replace("_", " "): [3, 4],
            "diverged": [1],
        }


class TestSearch:
    """What the search has seen."""

    def test_sensitivity_shows_what_diverged(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, {"constant": RATES}, LEVELS)
        leave_run(place / "trials/50", trial=50, objective=math.nan, stop_reason="diverged",
                  overrides=["optimizer.learning_rate=10"])  # fmt: skip
        dots, crosses = traces(figures.sensitivity(gather(place)))
        assert len(dots.x) == len(RATES)
        assert (list(crosses.x), list(crosses.customdata)) == ([10], ["diverged"])
        assert crosses.y[0] == min(dots.y)

    def test_budget_is_expected_where_trials_are_independent(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, {"constant": (1e-3, 1e-2)}, {"constant": 0.9})
        (trace,) = traces(figures.budget(gather(place)))
        assert list(trace.y) == pytest.approx([0.89, 0.9])

    def test_budget_is_what_happened_where_they_learn(self, tmp_path: Path) -> None:
        rates, tpe = {"constant": (1e-2, 1e-4, 1e-3)}, "optuna.samplers.TPESampler"
        figure = figures.budget(gather(leave_sweep(tmp_path, rates, {"constant": 0.9}, "t", tpe)))
        assert figure is not None
        assert list(traces(figure)[0].y) == pytest.approx([0.88, 0.88, 0.9])
        assert figure.layout.yaxis.title.text.endswith("val/accuracy")

    def test_budget_never_falls_where_trials_were_lost(self, tmp_path: Path) -> None:
        lost = {"objective": math.nan, "stop_reason": "diverged"}
        found = {0: [0.8, math.nan, 0.85], 1: [0.9, 0.7, 0.6, 0.95]}  # by search
        place = leave_sweep(
            tmp_path, {"constant": (1e-3,)}, LEVELS, "t", "optuna.samplers.TPESampler"
        )
        shutil.rmtree(place / "trials")
        for search, scores in found.items():
            home = searches.folder_of(place, search) if search else place
            for number, score in enumerate(scores):
                leave_run(home / f"trials/{number}", trial=number, search=search,
                          **(lost if math.isnan(score) else {"objective": score}))  # fmt: skip
        (trace,) = traces(figures.budget(gather(place)))
        assert list(trace.y) == pytest.approx([0.85, 0.85, 0.875])

    def test_importance_of_choices_of_any_kind(self, tmp_path: Path) -> None:
        """Also of those that an override spells in another way, and in a range that was cut."""
        place = tmp_path / "sweeps/night"
        random = np.random.default_rng(0)
        choices: dict[str, list[Any]] = {
            "optimizer.nesterov": [True, False],
            "training.batch_size": [32, 64],
            "scheduler.any": [0.1, "auto"],
        }
        for number in range(200):
            drawn = {key: random.choice(len(values)) for key, values in choices.items()}
            given = [f"{key}={spell(choices[key][at])}" for key, at in drawn.items()]
            rate = 10 ** random.uniform(-4, 0)
            given.append(f"optimizer.learning_rate={rate}")
            score = 0.5 + drawn["optimizer.nesterov"] / 10 + random.uniform() / 100
            leave_run(place / f"trials/{number}", trial=number, objective=score, overrides=given)
        space = {key: {"choices": values} for key, values in choices.items()}
        cut = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.5, "log": True}}
        write_json(place / "spaces.json", {"": space | cut})
        (table,) = traces(figures.importance(gather(place)))
        assert table.x[0] == "optimizer.nesterov"
        assert set(table.x) == {*space, *cut}

    def test_importance(self, tmp_path: Path) -> None:
        place = tmp_path / "sweeps/night"
        random = np.random.default_rng(0)
        for number in range(40):
            rate, other = 10 ** random.uniform(-4, 0), random.uniform(0, 1)
            given = [f"optimizer.learning_rate={rate}", f"scheduler.other={other}"]
            score = -np.log10(rate) / 10
            leave_run(place / f"trials/{number}", trial=number, objective=score, overrides=given)
        space = {"optimizer.learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
                 "scheduler.other": {"low": 0.0, "high": 1.0, "log": False}}  # fmt: skip
        write_json(place / "spaces.json", {"": space})
        (table,) = traces(figures.importance(gather(place)))
        assert list(table.x) == ["optimizer.learning_rate", "scheduler.other"]
        assert table.z[0][0] > 0.8
        assert sum(table.z[0]) == pytest.approx(1)

    def test_parallel_coordinates(self, place: Path) -> None:
        every, *single = traces(figures.parallel_coordinates(gather(place)))
        assert [axis.label for axis in every.dimensions] == [
            "strategy", "learning_rate", "val/accuracy",
        ]  # fmt: skip
        assert list(every.dimensions[0].ticktext) == ["cosine", "constant"]
        assert len(every.dimensions[1]["values"]) == 2 * len(RATES)
        assert [len(trace.dimensions) for trace in single] == [2, 2]
        assert min(every.dimensions[1]["values"]) == pytest.approx(-4.5)  # logarithmic


class TestNothing:
    """Without anything to draw there is no chart."""

    @pytest.mark.parametrize("name", figures.__all__)
    def test_an_empty_sweep(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "sweeps/empty").mkdir(parents=True)
        assert getattr(figures, name)(gather(tmp_path / "sweeps/empty")) is None

    @pytest.mark.parametrize(
        "name", sorted(set(figures.__all__) - {"learning_rates", "validation"})
    )
    def test_a_single_trial(self, tmp_path: Path, name: str) -> None:
        leave_run(tmp_path / "sweeps/one/trials/0")
        assert getattr(figures, name)(gather(tmp_path / "sweeps/one")) is None


class TestStyle:
    """What charts share."""

    def test_a_strategy_keeps_its_colour(self, place: Path) -> None:
        evidence = gather(place)
        assert style.colour(evidence, "constant") == style.BASELINE_COLOUR
        line = traces(figures.learning_rates(evidence), "cosine")[0].line
        assert line.color == style.colour(evidence, "cosine")

    def test_no_two_of_many_look_alike(self, tmp_path: Path) -> None:
        names = ["constant", *(f"s{number}" for number in range(30))]
        evidence = gather(leave_sweep(tmp_path, dict.fromkeys(names, RATES[:1]),
                                      dict.fromkeys(names, 0.8)))  # fmt: skip
        lines = [style.line(evidence, name) for name in names]
        assert len({(line["color"], line["dash"]) for line in lines}) == 31

    @pytest.mark.parametrize(("most", "ticks"), [(1, 1), (10, 1), (20, 2), (100, 10), (250, 50)])
    def test_axes_of_whole_numbers(self, most: int, ticks: int) -> None:
        assert style.whole_numbers(most)["dtick"] == ticks
