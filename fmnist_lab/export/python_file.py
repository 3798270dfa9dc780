"""An exported document as a Python file in plain Keras, which trains without this project.

A template around the source of the functions that the trial was trained with: its schedule and
its architecture. The program gives the curve of the engine `keras`.
"""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from fmnist_lab import data, schedules
from fmnist_lab.config.config_files import Document
from fmnist_lab.errors import Phrase
from fmnist_lab.export import document as recipe
from fmnist_lab.export.pasting import Pasted, refusal
from fmnist_lab.foundation.instantiate import locate
from fmnist_lab.schedules.scheduler import positions
from fmnist_lab.training.clipping import KERAS_ARGUMENTS
from fmnist_lab.training.engines import building
from fmnist_lab.trial import Trial

_WIDTH = 98
_SPLITS = {
    "first": "np.arange(len(labels))  # the first images validate",
    "last": "np.roll(np.arange(len(labels)), VAL_SIZE)  # the last images validate",
    "random": "np.random.default_rng({seed}).permutation(len(labels))",
}
_PROGRAM, _RATES = "program.txt", "rates.txt"  # templates, beside this file


def to_python(document: Document, name: str) -> str:
    """Returns the document as a program.

    Raises:
        RequestError: The trial has something that Keras alone does not.
    """
    trial = recipe.to_trial(document)
    if trial.data.name != "fashion_mnist":
        raise refusal("data=fashion_mnist, whose images exist elsewhere too", trial.data.name)
    return program(trial, document["exported"], name)


def program(trial: Trial, record: Mapping[str, Any], name: str) -> str:
    """Returns the text of the program for a trial with this record."""
    pasted, training, made = Pasted(), trial.training, schedules.build(trial.scheduler)
    architecture = pasted.add(locate("architecture", trial.architecture))
    model = _call(architecture, _arguments(trial.architecture), 4)
    schedule = _schedule(pasted, trial.scheduler, made)
    if trial.averaging.name != "none":
        raise refusal("averaging=none, as Keras averages no statistics", trial.averaging.name)
    if trial.augmentation.name != "none":
        raise refusal("augmentation=none", trial.augmentation.name)
    mean, std = 0.0, 1.0
    if trial.data.standardize:
        dataset = data.load(trial.data)
        mean, std = dataset.mean, dataset.std
    hot = training.labels == "one_hot"
    loss = f"CategoricalCrossentropy(label_smoothing={training.label_smoothing})"
    setting = ["SetRates(batches)"] if schedule else []
    callbacks = ["StartEpochs(batches)", *setting, *_callbacks(trial, made)]
    imports = {"import keras", "import numpy as np", *pasted.imports()}
    text = _template(_PROGRAM).substitute(
        docstring=_docstring(record, name),
        imports="\n".join(sorted(imports)),
        seed=trial.seed,
        epochs=training.epochs,
        batch_size=training.batch_size,
        val_size=trial.data.val_size,
        train_size=trial.data.train_size,
        mean=repr(mean),
        std=repr(std),
        split=_SPLITS[trial.data.split].format(seed=trial.data.split_seed),
        functions=pasted.text(),
        count=f"{building.count_parameters(trial):,}",
        model=model,
        schedule=f"{schedule}\n\n\n" if schedule else "",
        targets="np.eye(10, dtype=np.float32)[labels]" if hot else "labels.astype(np.int32)",
        optimizer=_optimizer(trial, made),
        loss=loss if hot else "SparseCategoricalCrossentropy()",
        callbacks="\n".join(f"            {callback}," for callback in callbacks),
    )
    defined = re.findall(r"^(?:def|class) (\w+)", text, re.MULTILINE)
    if twice := [name for name in defined if defined.count(name) > 1]:
        raise refusal("your functions have other names than the program's", twice[0])
    return text


def _arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "_target_"}


def _schedule(pasted: Pasted, node: Mapping[str, Any], made: schedules.Scheduler) -> str:
    """Returns the lines that set the rates; nothing where Keras's ReduceLROnPlateau does it."""
    if isinstance(made, schedules.Performance):
        if made.warmup_epochs:
            rule = "a performance schedule has no warm-up"
            raise refusal(rule, Phrase(f"scheduler.warmup_epochs={made.warmup_epochs}"))
        if made.threshold_mode != "abs":
            raise refusal("a plateau's threshold is absolute", made.threshold_mode)
        return ""
    if not isinstance(made, schedules.Scheduled):
        raise refusal("the schedule is a function or `performance`", node["_target_"])
    if made.is_plain or made.counts_steps:
        raise refusal("the schedule takes arrays of epochs", node["_target_"])
    function = locate("scheduler", node)
    if function is schedules.sequential:
        raise refusal("the schedule is one function", node["_target_"])
    arguments = _arguments(schedules.arguments(node))
    lines = [f"SCHEDULE = {_call(pasted.add(function), arguments, 0)}"]
    if made.warmup_epochs:
        ramp = {"schedule": Phrase("SCHEDULE"), "warmup_epochs": made.warmup_epochs,
                "per_epoch": made.update == "epoch"}  # fmt: skip
        lines.append(f"SCHEDULE = {_call(pasted.add(schedules.warmup), ramp, 0)}")
    program, at = "\n".join(lines), pasted.add(positions)
    text = _template(_RATES).substitute(schedule=program, positions=at, update=made.update)
    return text.rstrip("\n")


def _optimizer(trial: Trial, made: schedules.Scheduler) -> str:
    """Returns the call that makes the optimizer, with the trial's clipping."""
    target, arguments = locate("optimizer", trial.optimizer), _arguments(trial.optimizer)
    if isinstance(made, schedules.Performance):
        arguments["learning_rate"] = made.initial_learning_rate
    arguments["learning_rate"] = float(arguments["learning_rate"])
    if argument := KERAS_ARGUMENTS.get(trial.clipping.name):
        arguments[argument] = trial.clipping.threshold
    if target.__module__.partition(".")[0] != "keras":
        raise refusal("the optimizer is one of Keras's", trial.optimizer["_target_"])
    return _call(f"keras.optimizers.{target.__name__}", arguments, 8)


def _callbacks(trial: Trial, made: schedules.Scheduler) -> list[str]:
    """Returns the calls that make those callbacks of Keras which watch a metric."""
    calls, stopping = [], trial.stopping
    if isinstance(made, schedules.Performance):
        keys = ("mode", "factor", "patience", "min_delta", "cooldown", "min_lr")
        arguments = {"monitor": _log(made.monitor)} | {key: getattr(made, key) for key in keys}
        calls.append(_call("keras.callbacks.ReduceLROnPlateau", arguments, 12))
    if stopping.name != "none":
        arguments = {"monitor": _log(stopping.monitor)}
        arguments |= {key: getattr(stopping, key) for key in ("mode", "min_delta", "patience")}
        arguments |= {"restore_best_weights": stopping.restore_best,
                      "start_from_epoch": stopping.start_from_epoch}  # fmt: skip
        calls.append(_call("keras.callbacks.EarlyStopping", arguments, 12))
    return calls


def _call(function: str, arguments: Mapping[str, Any], indent: int) -> str:
    """Returns a call as Python writes it; an argument per line where one line is too short."""
    items = [f"{key}={value if isinstance(value, Phrase) else repr(value)}"
             for key, value in arguments.items()]  # fmt: skip
    line = f"{function}({', '.join(items)})"
    if indent + len(line) < _WIDTH - len("SCHEDULE = "):
        return line
    space = " " * indent
    return "\n".join([f"{function}(", *(f"{space}    {item}," for item in items), f"{space})"])


def _log(metric: str) -> str:
    """Returns Keras's name of a metric."""
    return metric.removeprefix("train/").replace("/", "_")


def _docstring(record: Mapping[str, Any], name: str) -> str:
    texts = [
        f"Trains the best configuration of {record['sweep']} in plain Keras: strategy "
        f"{record['strategy']}, trial {record['trial']}.",
        f"python {name}.py [FOLDER]: a folder with the four files of Fashion-MNIST, gzipped or "
        "not; without one Keras downloads them. Needs numpy, keras and tensorflow.",
        *recipe.remarks(record),
        "The curve is that of fmnist-lab's engine `keras`: the same seeds, batches and rates. The "
        "engine `compiled` differs from it by rounding, which grows while a network learns.",
    ]
    paragraphs = ["\n".join(textwrap.wrap(_plain(text), _WIDTH)) for text in texts]
    paragraphs.insert(-1, _plain(f"    {record['command']}"))
    return "\n\n".join(paragraphs)


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"""', "'''")


def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))
