"""What is counted of a sweep: trials, the best one, speed and time left."""

import pytest

from fmnist_lab.sweeper.sweep_end import TrialEnd
from tests.support.watching import Clock, begin, end, progress


class TestCounts:
    """Trials by how they ended."""

    @pytest.mark.parametrize(
        ("trial", "done", "pruned", "failed"),
        [
            (end(0, 0.9), 1, 0, 0),
            (end(0, 0.5, state="pruned"), 1, 1, 0),
            (end(0, state="failed"), 1, 0, 1),
            (end(0, state="failed", counts=False), 0, 0, 0),
            (end(0, state="interrupted", counts=False), 0, 0, 0),
        ],
    )
    @pytest.mark.parametrize("is_earlier", [True, False])
    def test_a_trial_counts_by_how_it_ended(
        self, clock: Clock, trial: TrialEnd, done: int, pruned: int, failed: int, is_earlier: bool
    ) -> None:
        state = progress(clock, *[trial] * is_earlier)
        if not is_earlier:
            state.start(begin(0))
            assert list(state.running) == [0]
            state.end(trial)
        assert (state.done, state.pruned, state.failed) == (done, pruned, failed)
        cosine = state.strategies["cosine"]
        assert (cosine.done, cosine.pruned, cosine.failed) == (done, pruned, failed)
        assert (state.left, state.running) == (10 - done, {})
        assert state.strategies["constant"].done == 0

    def test_strategies_share_the_total(self, clock: Clock) -> None:
        assert [one.total for one in progress(clock).strategies.values()] == [5, 5]

    def test_without_strategies_there_is_one_line(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.8, strategy=None), strategies=())
        ((name, only),) = state.strategies.items()
        assert (name, only.done, only.total) == (None, 1, 10)

    def test_trials_of_a_strategy_that_was_dropped_are_still_counted(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.8, strategy="dropped"))
        assert (state.done, state.strategies["dropped"].total) == (1, 0)


class TestBest:
    """The best so far, and whose."""

    @pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 0)])
    def test_direction_decides(self, clock: Clock, direction: str, number: int) -> None:
        state = progress(clock, directions=[direction])
        trials = (
            end(0, 0.7), end(1, 0.9, strategy="constant"), end(2, 0.8, strategy="constant")
        )  # fmt: skip
        for trial in trials:
            state.end(trial)
        assert state.best is trials[number]
        assert state.ranking()[0].best is state.best

    def test_first_of_equals_stays(self, clock: Clock) -> None:
        best = progress(clock, end(3, 0.9), end(4, 0.9)).best
        assert best is not None
        assert best.number == 3

    def test_pruned_trials_are_never_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.95, state="pruned"))
        assert state.best is None
        assert [one.name for one in state.ranking()] == ["constant", "cosine"]

    def test_several_objectives_have_no_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9, 3.0), directions=["maximize", "minimize"])
        assert state.best is None
        assert state.strategies["cosine"].latest is not None


class TestSpeed:
    """Epochs per second, of all trials together."""

    def test_recent_speed_forgets_what_is_old(self, clock: Clock) -> None:
        state = progress(clock)
        state.start(begin(0))
        for second in range(1, 101):  # one epoch per second, then one in twenty
            clock.wait(1)
            state.advance({0: second})
        for count in range(1, 33):
            clock.wait(20)
            state.advance({0: 100 + count})
        assert state.speed == pytest.approx(1 / 20)
        assert state.mean_speed == pytest.approx(132 / 740)

    def test_ended_and_running_trials_add_up_but_earlier_ones_do_not(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9))
        assert state.speed == 0
        state.start(begin(1))
        state.start(begin(2))
        clock.wait(10)
        state.advance({1: 4, 2: 5, 99: 7})
        state.end(end(1, state="pruned", steps=5))
        assert state.speed == state.mean_speed == 1.0


class TestTimeLeft:
    """From how fast trials went on lately, and how many are to come."""

    def test_it_is_unknown_until_something_was_reported(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9))
        state.start(begin(1))
        clock.wait(5)
        assert state.seconds_left is None

    def test_until_a_trial_ended_running_ones_are_extrapolated(self, clock: Clock) -> None:
        state = progress(clock, n_trials=4, slots=1)
        state.start(begin(0))
        for epoch in range(1, 11):  # 2 seconds each
            clock.wait(2)
            state.advance({0: epoch})
        assert state.seconds_left == pytest.approx(4 * 42 - 20, abs=1)

    @pytest.mark.parametrize("slots", [1, 2])
    def test_trials_that_end_are_counted_whole(self, clock: Clock, slots: int) -> None:
        state = progress(clock, slots=slots)
        for number in range(6):
            state.start(begin(number))
        for number in range(0, 6, slots):  # 40 seconds each, so many at once
            clock.wait(40)
            for other in range(number, number + slots):
                state.end(end(other, 0.9, state="pruned", steps=1))
        assert state.seconds_left == pytest.approx(4 * 40 / slots, rel=0.25)

    def test_a_trial_at_its_last_epoch_has_not_ended(self, clock: Clock) -> None:
        state = progress(clock, n_trials=1, slots=1)
        state.start(begin(0))
        for epoch in range(1, 21):
            clock.wait(1)
            state.advance({0: epoch})
        assert state.seconds_left is not None
        assert state.seconds_left > 0

    def test_none_is_left_at_the_end(self, clock: Clock) -> None:
        assert progress(clock, end(0, 0.9), n_trials=1).seconds_left == 0
