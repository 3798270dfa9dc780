"""The picture of a sweep in a terminal."""

import io
import re

from rich.console import Console

from fmnist_lab.protocol.progress.counts import SweepProgress
from fmnist_lab.protocol.progress.view import picture
from tests.support.watching import Clock, begin, end, plain, progress

MANY = (
    "constant", "power", "exponential", "piecewise_constant", "step", "cosine", "one_cycle", "wsd",
    "performance", "linear", "polynomial", "inverse_sqrt", "cosine_restarts", "triangular",
    "a_name_that_is_much_too_long",
)  # fmt: skip
SCREEN = (80, 24)


def drawn(state: SweepProgress) -> str:
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system="standard",
        record=True, _environ={},
    )  # fmt: skip
    console.print(picture(state, "val/accuracy"))
    return console.export_text(styles=True)


def busy(clock: Clock) -> SweepProgress:
    """104 trials per strategy, of which some are done and two run, all cells at their widest."""
    trials = [
        end(i, 0.8 + i / 10_000, strategy=MANY[i % 15], state=("complete", "pruned")[i % 4 == 3])
        for i in range(1500)
    ]
    trials += [end(1500, state="failed", strategy="wsd")]
    state = progress(clock, *trials, strategies=MANY, n_trials=104 * 15)
    for number in (1501, 1502):
        state.start(begin(number, MANY[number % 15]))
    clock.wait(100)
    state.advance({1501: 6, 1502: 20})
    return state


class TestTable:
    """The picture in a terminal."""

    def test_it_fits_a_small_terminal(self, clock: Clock) -> None:
        lines = plain(drawn(busy(clock))).splitlines()
        assert max(map(len, lines)) <= SCREEN[0]
        assert len(lines) < SCREEN[1]
        assert sum(line.startswith("a_name_that_is_mu… ") for line in lines) == 1

    def test_it_says_everything(self, clock: Clock) -> None:
        lines = [" ".join(line.split()) for line in plain(drawn(busy(clock))).splitlines()]
        text = " ".join(lines)
        for part in (
            "1501/1560 trials", "0:01:40 elapsed", "best val/accuracy 0.9498 by triangular #1498",
            "2 running, 375 pruned, 1 failed", "0.26 epochs/s", "mlruns/sweeps/decay/sweep.log",
        ):  # fmt: skip
            assert part in text
        (wsd,) = (line for line in lines if line.startswith("wsd"))
        assert wsd.startswith("wsd 0.9492 #1492 101/104 25 1")
        (power,) = (line for line in lines if line.startswith("power"))
        assert "#1501 7/20" in power
        (exponential,) = (line for line in lines if line.startswith("exponential"))
        assert "#1502 20/20" in exponential  # not 21

    def test_many_trials_of_one_study_are_cut_short(self, clock: Clock) -> None:
        state = progress(clock, strategies=(), slots=8)
        for number in range(8):
            state.start(begin(number, None))
        assert "#0 1/20, #1 1/20, +6" in plain(drawn(state))

    def test_best_strategy_is_highlighted_alone(self, clock: Clock) -> None:
        bold_green = re.findall(r"\x1b\[1;32m([^\x1b]+)", drawn(busy(clock)))
        assert [text.strip() for text in bold_green] == [
            "0.9498", "triangular", "0.9498", "#1498",
        ]  # fmt: skip

    def test_one_study_has_one_line(self, clock: Clock) -> None:
        text = plain(drawn(progress(clock, end(0, 0.9, strategy=None), strategies=())))
        assert re.search(r"\nall +0.9000 +#0 +1/10 ", text)

    def test_several_objectives_are_shown_without_a_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9, 3.0), directions=["maximize", "minimize"])
        text = plain(drawn(state))
        assert "best" not in text
        assert "0.9000, 3.0000" in text

    def test_nothing_is_known_at_first(self, clock: Clock) -> None:
        text = plain(drawn(progress(clock)))
        assert "no val/accuracy" in text
        assert "-:--:-- left" in text
