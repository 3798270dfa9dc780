"""Sweeps that compare strategies: a study each, searched in turn, in one sequence of numbers."""

import functools
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from fmnist_lab.errors import ConnectionLostError, TooManyFailuresError
from fmnist_lab.sweeper.loop import Loop, Signals
from fmnist_lab.sweeper.observers import Observers
from fmnist_lab.sweeper.plans import Plan
from fmnist_lab.sweeper.samplers import build_sampler
from fmnist_lab.sweeper.settings import Settings
from fmnist_lab.sweeper.space import parse
from fmnist_lab.sweeper.strategy import Outcome, Strategy
from fmnist_lab.sweeper.sweep_end import BudgetEnd, EndReason, SweepEnd
from tests.support.sweeping import end, results, run, start, trials, wait_for

pytestmark = pytest.mark.slow

STUDIES = ("ways/bent", "ways/straight")  # in the order in which they take numbers


def overrides(folder: Path, number: int) -> dict[str, str]:
    listed = yaml.safe_load((folder / str(number) / ".hydra" / "overrides.yaml").read_text())
    return dict(item.split("=") for item in listed)


def has_more_jobs(folder: Path, than: int) -> bool:
    return len(list(folder.glob("*/.hydra"))) > than + 2


def params(folder: Path, study: str) -> list[dict[str, Any]]:
    return [trial.params for trial in trials(folder, study, "COMPLETE")]


class TestSweep:
    """From the command line of an application that is not ours."""

    def test_a_strategy_may_have_fewer_trials_and_more_the_next_day(self, tmp_path: Path) -> None:
        run("strategies", tmp_path, "+hydra.sweeper.limits.bent=1")
        assert [len(params(tmp_path, study)) for study in STUDIES] == [1, 3]
        assert results(tmp_path)["ended"]["n_trials"] == 4
        run("strategies", tmp_path)
        assert [len(params(tmp_path, study)) for study in STUDIES] == [3, 3]

    def test_each_strategy_searches_its_own_space_in_turn(self, tmp_path: Path) -> None:
        run("strategies", tmp_path)
        bent, straight = (params(tmp_path, study) for study in STUDIES)
        assert [set(found) for found in straight] == [{"way.slope"}] * 3
        assert [set(found) for found in bent] == [{"way.slope", "way.bend"}] * 3
        assert all(0 <= found["way.bend"] <= 1 for found in bent)
        named = [overrides(tmp_path, number)["name"] for number in range(6)]
        assert named == ["bent", "straight"] * 3
        found = results(tmp_path)
        end = SweepEnd.read(found["ended"])
        assert end is not None
        assert (end.reason, end.done) == (EndReason.N_TRIALS, 6)
        best = found["strategies"][found["best_strategy"]]
        assert best["best_value"] == min(x["best_value"] for x in found["strategies"].values())
        assert found["best_trial"] == best["best_trial"]

    def test_a_larger_total_continues_the_same_sequences(self, tmp_path: Path) -> None:
        run("strategies", tmp_path / "long", "hydra.sweeper.n_trials=6")
        for total in (1, 4, 6):
            run(
                "strategies", tmp_path / "parts", f"hydra.sweeper.n_trials={total}", f"free={total}"
            )
        for study in STUDIES:
            assert params(tmp_path / "parts", study) == params(tmp_path / "long", study)

    def test_an_interrupted_sweep_ends_as_an_undisturbed_one(self, tmp_path: Path) -> None:
        five = "hydra.sweeper.n_trials=5"
        slow = (five, "seconds=0.5")  # which may not change
        on_workers = ("hydra/launcher=dask", "hydra.launcher.workers=2")
        for sent in (signal.SIGKILL, signal.SIGINT):
            started = list((tmp_path / "disturbed").glob("*/.hydra"))
            process = start("strategies", tmp_path / "disturbed", *slow, *on_workers)
            wait_for(functools.partial(has_more_jobs, tmp_path / "disturbed", len(started)))
            end(process, sent)
        run("strategies", tmp_path / "disturbed", *slow)
        run("strategies", tmp_path / "calm", five)
        for study in STUDIES:
            disturbed, calm = (
                params(tmp_path / "disturbed", study),
                params(tmp_path / "calm", study),
            )
            assert len(disturbed) == 5
            assert sorted(map(str, disturbed)) == sorted(map(str, calm))
            assert not trials(tmp_path / "disturbed", study, "RUNNING", "WAITING")

    def test_the_command_line_has_the_last_word(self, tmp_path: Path) -> None:
        run("strategies", tmp_path, "way.slope=interval(2,3)", "hydra.sweeper.n_trials=2")
        assert all(2 <= found["way.slope"] <= 3 for s in STUDIES for found in params(tmp_path, s))
        run("strategies", tmp_path / "fixed", "++way.slope=2", "hydra.sweeper.n_trials=2")
        assert [len(params(tmp_path / "fixed", study)) for study in STUDIES] == [2, 1]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "begun"
    run("strategies", folder, "hydra.sweeper.n_trials=1")
    return folder


class TestRefusals:
    """A sweep stays what it began with, and what it asks can be asked."""

    @pytest.mark.parametrize(
        ("change", "tokens"),
        [
            ("start=1", ["`start`", " 0,", " 1;"]),
            ("way.slope=interval(1,2)", ["`way.slope`", "'ways/bent'"]),
            ("~hydra.sweeper.strategies.bent", ["`hydra.sweeper.strategies`", "bent, straight"]),
            ("+hydra.sweeper.strategies.new='start=1'",
             ["`hydra.sweeper.strategies`", "bent, new, straight"]),
        ],
    )  # fmt: skip
    def test_of_a_changed_sweep(self, begun: Path, change: str, tokens: list[str]) -> None:
        output = run("strategies", begun, change, code=1)
        assert all(token in output for token in tokens), output

    def test_a_change_that_is_allowed(self, begun: Path, tmp_path: Path) -> None:
        own = shutil.copytree(begun, tmp_path / "begun")  # other tests may come later
        run("strategies", own, "start=1", "hydra.sweeper.changed_space=allow")

    @pytest.mark.parametrize(
        ("request_", "tokens"),
        [
            ("way=bent", ["`way`", "way=bent"]),
            ("++name=x", ["`name`", "++name=x"]),
            ("~way", ["`way`", "~way"]),
            ("hydra.sweeper.strategies.bent=3", ["`hydra.sweeper.strategies.bent`", " 3."]),
            ("hydra.sweeper.spaces=[weg]", ["`hydra.sweeper.spaces`", "'weg'"]),
            ("hydra.sweeper.check=strategies.nope",
             ["`hydra.sweeper.check`", "'strategies.nope'", "'nope'"]),
            ("hydra.sweeper.check=nowhere.nope",
             ["`hydra.sweeper.check`", "'nowhere.nope'", "'nowhere'"]),
            ("hydra.sweeper.check=os.getcwd", ["`hydra.sweeper.check`", " ()."]),
            ("hydra.sweeper.custom_search_space=nope",
             ["`hydra.sweeper.custom_search_space`", "'nope'"]),
            ("hydra.sweeper.custom_search_space=strategies.check",
             ["`hydra.sweeper.custom_search_space`", "(cfg, trial)"]),
            ("hydra.sweeper.observers=[{_target_: watching.Nope}]",
             ["`hydra.sweeper.observers._target_`", "'watching.Nope'"]),
            ("start=100", ["`start`", "100"]),
        ],
    )  # fmt: skip
    def test_of_what_cannot_be_searched(
        self, tmp_path: Path, request_: str, tokens: list[str]
    ) -> None:
        output = run("strategies", tmp_path / "sweep", request_, code=1)
        assert all(token in output for token in tokens), output
        assert ("Traceback" in output) is (request_ == "start=100")  # what a check raises itself
        assert not (tmp_path / "sweep").exists()


def strategies(*settings: dict[str, Any]) -> tuple[Loop, list[Strategy]]:
    """A loop over strategies named a, b, c, ... that search x."""
    members = []
    for index, given in enumerate(settings):
        study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=index))
        plan = Plan("study", "abc"[index], parse(["x=interval(0,1)"]))
        own = Settings(**({"direction": "maximize"} | given))
        members.append(Strategy(study, plan, own, index, len(settings)))
    return Loop(members, None, Observers([])), members


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Signals() as signals, signals.waiting():
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


class TestStrategies:
    """The accounts of several studies."""

    def test_the_one_with_the_fewest_trials_is_next(self) -> None:
        loop, members = strategies({"n_trials": 2}, {"n_trials": 4})
        asked = [loop.next() for _ in range(4)]
        assert [trial and trial.number for trial in asked] == [0, 1, 2, 3]
        loop.conclude(0, Outcome("complete", [1.0]))
        rest = [loop.next() for _ in range(3)]
        assert [trial and (trial.number, trial.strategy) for trial in rest] == [
            (5, "b"), (7, "b"), None,
        ]  # fmt: skip
        assert (loop.done, sum(len(member.running) for member in members)) == (1, 5)
        assert loop.n_trials == 6

    def test_the_best_is_of_all_and_budgets_are_of_each(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        loop, members = strategies({"n_trials": 3, "target": 0.8}, {"n_trials": 3})
        for value in (0.9, 0.5):
            trial = loop.next()
            assert trial
            loop.conclude(trial.number, Outcome("complete", [value]))
        assert caplog.messages[-1] == "Trial 1 complete: 0.5; best 0.9, trial 0"
        following = [loop.next() for _ in range(3)]
        assert [trial and trial.strategy for trial in following] == ["b", "b", None]
        assert members[0].budget.spent() == BudgetEnd(EndReason.TARGET, 0.8, 0.9)

    def test_an_interrupted_trial_is_asked_again_before_others(self) -> None:
        loop, members = strategies({"n_trials": 2}, {"n_trials": 2})
        first, second = loop.next(), loop.next()
        assert first
        assert second
        for member in members:
            for trial in member.end_running():
                member.observe(trial)
        again = [loop.next() for _ in range(5)]
        assert [trial and trial.number for trial in again] == [2, 3, 4, 5, None]
        assert again[0]
        assert again[0].params == first.params

    def test_trials_that_run_are_left_to_a_controller_that_has_taken_over(self) -> None:
        loop, members = strategies({"n_trials": 2})
        assert loop.next()

        def refuse() -> None:
            raise ConnectionLostError("taken over")

        loop.require_held = refuse
        with Signals() as signals, pytest.raises(ConnectionLostError):
            loop.run(signals)
        assert members[0].study.trials[0].state == TrialState.RUNNING

    def test_failures_are_counted_over_all(self) -> None:
        loop, _ = strategies({"n_trials": 2}, {"n_trials": 2})
        for _ in range(3):
            loop.give_up_if_needed()
            trial = loop.next()
            assert trial
            loop.conclude(trial.number, Outcome("failed", problem="NaN"))
        with pytest.raises(TooManyFailuresError, match=r"^3 .*max_failure_rate=0\.5") as given_up:
            loop.give_up_if_needed()
        assert "NaN" in str(given_up.value.__cause__)


class TestSequence:
    """Quasi-random points whatever happens in between."""

    SPACE = parse(["x=interval(0,1)", "y=choice(a,b,c)", "z=tag(log,interval(1,100))"])

    def study(self, seed: int = 3) -> optuna.Study:
        config = {"_target_": "optuna.samplers.QMCSampler", "seed": seed, "scramble": True}
        return optuna.create_study(sampler=build_sampler(config, self.SPACE, 0, 2))

    def points(self, n: int, repeat: int | None = None, seed: int = 3) -> list[dict[str, Any]]:
        study = self.study(seed)
        found = []
        for number in range(n):
            trial = study.ask(self.SPACE.distributions)
            found.append(trial.params)
            if number == repeat:
                study.enqueue_trial(trial.params)
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                assert study.ask(self.SPACE.distributions).params == found[-1]
        return found

    def test_shorter_budgets_are_prefixes(self) -> None:
        assert self.points(4) == self.points(8)[:4]
        assert self.points(4) != self.points(4, seed=4)

    def test_a_repeated_trial_costs_no_point(self) -> None:
        assert self.points(8, repeat=3) == self.points(8)

    @pytest.mark.parametrize("stored", [0, 1, 2])
    def test_a_trial_killed_while_it_was_suggested_costs_no_point(
        self, monkeypatch: pytest.MonkeyPatch, stored: int
    ) -> None:
        study = self.study()
        found = Strategy(study, Plan("study", None, self.SPACE), Settings())
        found.conclude(found.ask().number, Outcome("complete", [1.0]))
        store, left = study._storage.set_trial_param, [True] * stored

        def store_some(*parameter: Any) -> None:
            left.pop()
            store(*parameter)

        with monkeypatch.context() as patch:
            patch.setattr(study._storage, "set_trial_param", store_some)
            with pytest.raises(IndexError):
                found.ask()
        found.end_running()
        assert [found.ask().params for _ in range(2)] == self.points(3)[1:]

    def test_the_points_are_spread_evenly(self) -> None:
        halves = [point["x"] < 0.5 for point in self.points(16)]
        assert sum(halves) == 8  # the first too: with Optuna's own it is a random one
