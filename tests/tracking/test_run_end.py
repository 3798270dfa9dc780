"""The end of a run whose process died: as its result says, if there is one."""

from dataclasses import asdict
from pathlib import Path

from fmnist_lab.foundation.files import write_json
from fmnist_lab.tracking.outbox import Header, Line, Record
from fmnist_lab.tracking.run_end import end
from fmnist_lab.tracking.store import NOTE
from fmnist_lab.trial import StopReason, TrialResult
from tests.support.folders import RESULT as WHOLE

RESULT = TrialResult(
    objective=0.5, objective_metric="val/accuracy", stop_reason=StopReason.COMPLETED,
    epochs_trained=1, best_epoch=0, best_val_loss=1.0, best_val_accuracy=0.5, delivered_epoch=0,
    parameters=1, seconds=1.0,
)  # fmt: skip


def ended(folder: Path, kind: str = "trial") -> list[Line]:
    """The last lines that a record gets whose process died after an epoch."""
    tags = {"kind": kind, NOTE: "Repeat with"}
    record = Record.create(folder, Header(kind, None, "night", "calm", tags, time=1000))
    record.append(time=2000, step=0, metrics={"val/accuracy": 0.5})
    end(record)
    end(record)  # once is enough
    lines = record.read(record.start)[0][1:]
    record.close()
    return lines


def test_with_a_result_it_is_what_the_process_would_have_said(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", WHOLE | asdict(RESULT))
    summary, state = ended(tmp_path)
    assert (summary["step"], summary["time"], summary["metrics"]["objective"]) == (0, 2000, 0.5)
    assert (state["status"], state["time"], state["files"]) == ("FINISHED", 2000, True)
    assert state["tags"]["stop_reason"] == "completed"
    assert state["tags"][NOTE].endswith("accuracy 0.5000.\n\nRepeat with")


def test_without_one_or_with_a_broken_one_it_was_killed(tmp_path: Path) -> None:
    for text in (None, "{", "[1]", '{"objective": 0.5}'):
        if text is not None:
            (tmp_path / "result.json").write_text(text)
        (state,) = ended(tmp_path)
        assert (state["status"], state["files"]) == ("KILLED", False)
        assert state["tags"] == {"stop_reason": "interrupted"}


def test_a_sweep_has_none(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", WHOLE | asdict(RESULT))
    (state,) = ended(tmp_path, "sweep")
    assert (state["status"], state["tags"]) == ("KILLED", {})
