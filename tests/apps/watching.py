"""Not one of ours: writes down what the sweep tells an observer."""

import json
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig


class Diary:
    """An observer of the sweep, `{_target_: watching.Diary, file: ...}`."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def on_start(self, sweep: Any, earlier: Any) -> None:
        self._note("start", sweep.n_trials, sweep.done, [trial.number for trial in earlier])

    def on_trial_start(self, trial: Any) -> None:
        self._note("trial", trial.number, trial.params, trial.overrides)

    def on_trial_end(self, trial: Any) -> None:
        self._note("end", trial.number, trial.state, trial.values, trial.folder)

    def on_end(self, end: Any) -> None:
        self._note("over", end.reason, end.done)

    def _note(self, *line: Any) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> float:
    return float(cfg.x)


if __name__ == "__main__":
    main()
