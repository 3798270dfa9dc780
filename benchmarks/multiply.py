"""Multiplies the trials of a sweep: in its journal, in its folder and in its MLflow store.

So a sweep of thousands is had in a minute, to see what it does from there on. Each new trial is a
copy of one that has ended, under numbers and ids of its own; files that are the same are links.
"""

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

STUDY, CREATE, STATE, COMPLETE = 0, 4, 6, 1  # operations in Optuna's journal, and a state
Log = dict[str, Any]
Copy = tuple[int, int]  # number of a trial, and of its copy


def multiply(root: Path, sweep: str, total: int) -> None:
    """Adds copies until there are `total` trials; nobody may work on the sweep, all have ended."""
    folder = root / "sweeps" / sweep
    journal = folder / "study.journal"
    logs = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    runs: dict[str, tuple[str, int]] = {}  # of each new run: the one it is a copy of, its trial
    with journal.open("a", encoding="utf-8") as file:
        for lines, old, new in _copies(logs, total):
            run = _copy_folder(folder / "trials", old, new)
            runs[run[1]] = (run[0], new)
            where, there = f'/trials/{old}"', f'/trials/{new}"'
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            file.write(text.replace(where, there))
    for new_run, (old_run, _) in runs.items():
        _link(root / "artifacts" / old_run, root / "artifacts" / new_run)
    with sqlite3.connect(root / "mlflow.db") as store:
        _copy_runs(store, runs)


def _copies(logs: list[Log], total: int) -> Iterator[tuple[list[Log], int, int]]:
    """What the journal says of each copy, the number of its model and its own."""
    studies = sum(log["op_code"] == STUDY for log in logs)
    trials: list[list[Log]] = []
    of_study: list[list[int]] = [[] for _ in range(studies)]  # ids, in the study's order
    for log in logs:
        if log["op_code"] == CREATE:
            of_study[log["study_id"]].append(len(trials))
            trials.append([log])
        elif "trial_id" in log:
            trials[log["trial_id"]].append(log)
    next_id = len(trials)
    for study, known in enumerate(of_study):
        models = cycle([item for item in enumerate(known) if _is_complete(trials[item[1]])])
        for number in range(len(known), total // studies):
            place, model = next(models)
            lines = [log | {"trial_id": next_id} if "trial_id" in log else log
                     for log in trials[model]]  # fmt: skip
            yield lines, place * studies + study, number * studies + study
            next_id += 1


def _is_complete(trial: list[Log]) -> bool:
    return any(log["op_code"] == STATE and log["state"] == COMPLETE for log in trial)


def _copy_folder(trials: Path, old: int, new: int) -> tuple[str, str]:
    """Copies a trial's folder; the ids of its run and of the copy's."""
    _link(trials / str(old), trials / str(new))
    path = trials / str(new) / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    run = str(result["mlflow_run_id"]), uuid.uuid4().hex
    result |= {"trial": new, "mlflow_run_id": run[1]}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return run


def _link(old: Path, new: Path) -> None:
    shutil.copytree(old, new, copy_function=os.link, symlinks=True)


def _copy_runs(store: sqlite3.Connection, runs: dict[str, tuple[str, int]]) -> None:
    """Copies the rows of runs, with all that belongs to them."""
    store.execute("CREATE TEMP TABLE copy (new TEXT, old TEXT, number INTEGER, input TEXT)")
    rows = [(new, old, number, uuid.uuid4().hex) for new, (old, number) in runs.items()]
    store.executemany("INSERT INTO copy VALUES (?, ?, ?, ?)", rows)
    own = {
        ("runs", "artifact_uri"): "replace(t.artifact_uri, copy.old, copy.new)",
        ("tags", "value"): "CASE t.key WHEN 'trial' THEN copy.number "
        "WHEN 'mlflow.fmnistLab.key' THEN 'fmnist-lab-' || copy.new ELSE t.value END",
        ("inputs", "input_uuid"): "copy.input",
    }
    for table in ("runs", "tags", "params", "metrics", "latest_metrics", "inputs"):
        key = "destination_id" if table == "inputs" else "run_uuid"
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
        values = [
            "copy.new" if name == key else own.get((table, name), f"t.{name}") for name in columns
        ]
        store.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM copy JOIN {table} t ON t.{key} = copy.old"
        )
    store.execute(
        "INSERT INTO input_tags SELECT input, 'mlflow.data.context', 'training' FROM copy"
    )
