"""An exported document as a Python file in plain Keras, which trains without this project.

A template around the source of the functions that the trial was trained with: its schedule and
its architecture. The program gives the curve of the engine `keras`.
"""

import re
import textwrap
from collections.abc import Mapping
from string import Template
from typing import Any

from fmnist_lab import data, schedules
from fmnist_lab.config.exported_files import Document
from fmnist_lab.errors import Phrase
from fmnist_lab.export import document as recipe
from fmnist_lab.export import writing
from fmnist_lab.export.pasting import Pasted, refusal
from fmnist_lab.foundation.instantiate import locate, parameters
from fmnist_lab.schedules.scheduler import positions
from fmnist_lab.training import engines
from fmnist_lab.training.clipping import KERAS_ARGUMENTS
from fmnist_lab.trial import Trial

_WIDTH = 98
_LOGS = {"train": "", "val": "val_"}  # the parts of our metrics' names, as Keras has them
_SPLITS = {
    "first": "np.arange(len(labels))  # the first images validate",
    "last": "np.roll(np.arange(len(labels)), VAL_SIZE)  # the last images validate",
    "random": "np.random.default_rng({seed}).permutation(len(labels))",
}
_SHARED_KEYS = ("epochs", "update", "warmup_epochs")  # which a schedule need not take


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
    pasted, training = Pasted(), trial.training
    architecture, node = locate("architecture", trial.architecture), trial.architecture
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    model = _call(pasted.add(architecture), arguments, 4)
    schedule = _schedule(pasted, trial)
    mean, std = 0.0, 1.0
    if trial.data.standardize:
        dataset = data.load(trial.data)
        mean, std = dataset.mean, dataset.std
    hot = training.labels == "one_hot"
    loss = f"CategoricalCrossentropy(label_smoothing={training.label_smoothing})"
    setting = ["SetRates(batches)"] if schedule else []
    callbacks = ["StartEpochs(batches)", *setting, *_plateau(trial), *_stopping(trial)]
    imports = {"import keras", "import numpy as np", *pasted.imports()}
    text = _PROGRAM.substitute(
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
        count=f"{engines.count_parameters(trial):,}",
        model=model,
        schedule=f"{schedule}\n\n\n" if schedule else "",
        targets="np.eye(10, dtype=np.float32)[labels]" if hot else "labels.astype(np.int32)",
        optimizer=_optimizer(trial),
        loss=loss if hot else "SparseCategoricalCrossentropy()",
        callbacks="\n".join(f"            {callback}," for callback in callbacks),
    )
    defined = re.findall(r"^(?:def|class) (\w+)", text, re.MULTILINE)
    if twice := [name for name in defined if defined.count(name) > 1]:
        raise refusal("your functions have other names than the program's", twice[0])
    return text


def _schedule(pasted: Pasted, trial: Trial) -> str:
    """Returns the lines that set the rates; nothing where Keras's ReduceLROnPlateau does it."""
    node = trial.scheduler
    made = schedules.build(node)
    if isinstance(made, schedules.Performance):
        if made.warmup_epochs:
            rule = "a performance schedule has no warm-up"
            raise refusal(rule, Phrase(f"scheduler.warmup_epochs={made.warmup_epochs}"))
        return ""
    if not isinstance(made, schedules.Scheduled):
        raise refusal("the schedule is a function or `performance`", node["_target_"])
    function = locate("scheduler", node)
    taken = parameters("scheduler", function)
    arguments = {
        key: value
        for key, value in node.items()
        if key != "_target_" and (key in taken or key not in _SHARED_KEYS)
    }
    if "epochs" in arguments and "warmup_epochs" not in taken:
        arguments["epochs"] -= made.warmup_epochs
    lines = [f"SCHEDULE = {_call(pasted.add(function), arguments, 0)}"]
    if made.warmup_epochs:
        ramp = {
            "schedule": Phrase("SCHEDULE"),
            "warmup_epochs": made.warmup_epochs,
            "per_epoch": made.update == "epoch",
        }
        lines.append(f"SCHEDULE = {_call(pasted.add(schedules.warmup), ramp, 0)}")
    return _RATES.substitute(
        schedule="\n".join(lines), positions=pasted.add(positions), update=made.update
    )


def _optimizer(trial: Trial) -> str:
    """Returns the call that makes the optimizer, with the trial's clipping."""
    target, node = locate("optimizer", trial.optimizer), trial.optimizer
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    made = schedules.build(trial.scheduler)
    if isinstance(made, schedules.Performance):
        arguments["learning_rate"] = made.initial_learning_rate
    arguments["learning_rate"] = float(arguments["learning_rate"])
    if argument := KERAS_ARGUMENTS.get(trial.clipping.name):
        arguments[argument] = trial.clipping.threshold
    from keras import optimizers

    if getattr(optimizers, target.__name__, None) is not target:
        raise refusal("the optimizer is one of Keras's", node["_target_"])
    return _call(f"keras.optimizers.{target.__name__}", arguments, 8)


def _plateau(trial: Trial) -> list[str]:
    made = schedules.build(trial.scheduler)
    if not isinstance(made, schedules.Performance):
        return []
    keys = ("mode", "factor", "patience", "min_delta", "cooldown", "min_lr")
    arguments = {"monitor": _log(made.monitor)} | {key: getattr(made, key) for key in keys}
    return [_call("keras.callbacks.ReduceLROnPlateau", arguments, 12)]


def _stopping(trial: Trial) -> list[str]:
    settings = trial.stopping
    if settings.name == "none":
        return []
    arguments = {
        "monitor": _log(settings.monitor),
        "mode": settings.mode,
        "min_delta": settings.min_delta,
        "patience": settings.patience,
        "restore_best_weights": settings.restore_best,
        "start_from_epoch": settings.start_from_epoch,
    }
    return [_call("keras.callbacks.EarlyStopping", arguments, 12)]


def _call(function: str, arguments: Mapping[str, Any], indent: int) -> str:
    """Returns a call as Python writes it; an argument per line where one line is too short."""
    told = [
        f"{key}={value if isinstance(value, Phrase) else repr(value)}"
        for key, value in arguments.items()
    ]
    line = f"{function}({', '.join(told)})"
    if indent + len(line) < _WIDTH - len("SCHEDULE = "):
        return line
    space = " " * indent
    return "\n".join([f"{function}(", *(f"{space}    {item}," for item in told), f"{space})"])


def _log(metric: str) -> str:
    """Returns Keras's name of a metric."""
    part, _, what = metric.partition("/")
    return _LOGS[part] + what


def _docstring(record: Mapping[str, Any], name: str) -> str:
    told = [
        f"Trains the best configuration of {record['sweep']} in plain Keras: strategy "
        f"{record['strategy']}, trial {record['trial']}.",
        f"python {name}.py [FOLDER]: a folder with the four files of Fashion-MNIST, gzipped or "
        "not; without one Keras downloads them. Needs numpy, keras and tensorflow.",
        *writing.remarks(record),
        "The curve is that of fmnist-lab's engine `keras`: the same seeds, batches and rates. The "
        "engine `compiled` differs from it by rounding, which grows while a network learns.",
    ]
    paragraphs = ["\n".join(textwrap.wrap(_plain(text), _WIDTH)) for text in told]
    paragraphs.insert(-1, _plain(f"    {record['command']}"))
    return "\n\n".join(paragraphs)


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"""', "'''")


_RATES = Template(
    '''
$schedule


def learning_rates(epoch, steps):
    """The rate of each of an epoch's steps, (steps,)."""
    rates = SCHEDULE($positions(epoch, steps, update="$update"))
    return np.broadcast_to(rates, (steps,)).astype(np.float32)


class SetRates(keras.callbacks.Callback):
    """Sets the learning rate before every step."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.rates = learning_rates(epoch, len(self.batches))

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rates[batch]
'''.strip()
)

_PROGRAM = Template(
    '''
"""$docstring
"""

import gzip
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

$imports

SEED = $seed  # of initial weights, batch order and dropout
EPOCHS, BATCH_SIZE = $epochs, $batch_size
VAL_SIZE = $val_size  # images that validate
TRAIN_SIZE = $train_size  # so many of the others train; None: all
MEAN, STD = $mean, $std  # of the pixels / 255, where they are standardized


def load(folder=None):
    """Training and test set as published: images (n, 28, 28) in uint8, labels (n,)."""
    if folder is None:
        return keras.datasets.fashion_mnist.load_data()

    def read(name, header):
        path = Path(folder, name)
        packed = Path(f"{path}.gz")
        content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    return tuple(
        (
            read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28),
            read(f"{part}-labels-idx1-ubyte", 8),
        )
        for part in ("train", "t10k")
    )


def split(images, labels):
    """Training part and validation part, each as images and labels."""
    order = $split
    val, train = np.split(order, [VAL_SIZE])
    train = train[:TRAIN_SIZE]
    return (images[train], labels[train]), (images[val], labels[val])


def pixels(images):
    """What the model takes, in float32."""
    scaled = images.astype(np.float32) / np.float32(255.0)
    return (scaled - np.float32(MEAN)) / np.float32(STD)


def targets(labels):
    """What the loss compares with."""
    return $targets


# From here to `build_model`: the architecture and the schedule, as fmnist-lab has them.

$functions


def build_model():
    """The model, $count parameters; its first weights depend on the seed that was set."""
    return $model


${schedule}class Batches(keras.utils.PyDataset):
    """The training images in batches, in an order that depends on seed and epoch alone."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels
        self.start(0)

    def start(self, epoch):
        self.order = np.random.default_rng([SEED, epoch]).permutation(len(self.labels))

    def __len__(self):
        return -(-len(self.labels) // BATCH_SIZE)  # the last batch may be smaller

    def __getitem__(self, index):
        chosen = self.order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        return pixels(self.images[chosen]), targets(self.labels[chosen])


class StartEpochs(keras.callbacks.Callback):
    """Draws every epoch's batches, and notes the rate of its last step."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start(epoch)

    def on_epoch_end(self, epoch, logs):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def train(images, labels):
    """The trained model, and Keras's history: lists of loss, accuracy, val_loss and so on."""
    train_part, val_part = split(images, labels)
    keras.utils.set_random_seed(SEED)
    model = build_model()
    # XLA draws other random numbers for dropout than TensorFlow's own kernels do.
    model.compile(
        $optimizer,
        keras.losses.$loss,
        metrics=["accuracy"],
        jit_compile=True,
    )
    batches = Batches(*train_part)
    history = model.fit(
        batches,
        validation_data=(pixels(val_part[0]), targets(val_part[1])),
        validation_batch_size=1000,
        shuffle=False,  # the batches come shuffled
        epochs=EPOCHS,
        callbacks=[
$callbacks
        ],
        verbose=2,
    )
    return model, history.history


if __name__ == "__main__":
    (images, labels), test = load(*sys.argv[1:2])
    model, history = train(images, labels)
    loss, accuracy = model.evaluate(pixels(test[0]), targets(test[1]), batch_size=1000, verbose=0)
    print(f"Test set: loss {loss:.4f}, accuracy {accuracy:.4f}")
'''.lstrip("\n")
)
