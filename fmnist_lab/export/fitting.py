"""The last part of an exported Python file: batches, callbacks, `model.fit`."""

from collections.abc import Mapping
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.export import formulas
from fmnist_lab.training.clipping import KERAS_ARGUMENTS
from fmnist_lab.trial import Trial

_LOGS = {"train": "", "val": "val_"}  # our metrics' names -> those of Keras


def define(trial: Trial) -> list[str]:
    """Everything from the batches to the end of the program.

    Raises:
        RequestError: The trial has something that Keras alone does not.
    """
    parts = (_BATCHES, _conductor(trial), _training(trial))
    return "\n\n\n".join(part.strip("\n") for part in parts).splitlines()


_BATCHES = '''
class Batches(keras.utils.PyDataset):
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
'''


def _conductor(trial: Trial) -> str:
    guard = ""
    if formulas.is_performance(trial.scheduler):
        guard = """
        if epoch > 0:  # from here on the plateau's callback decides
            self.rates = None"""
    check = "if self.rates is not None:\n            " if guard else ""
    return f'''
class Conductor(keras.callbacks.Callback):
    """Starts every epoch's batches and sets the learning rate before every step."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start(epoch)
        self.rates = learning_rates(epoch, len(self.batches)){guard}

    def on_train_batch_begin(self, batch, logs=None):
        {check}self.model.optimizer.learning_rate = self.rates[batch]

    def on_epoch_end(self, epoch, logs):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
'''


def _training(trial: Trial) -> str:
    callbacks = ["Conductor(batches)", *_plateau(trial), *_stopping(trial)]
    listed = "\n".join(f"            {callback}," for callback in callbacks)
    hot = trial.training.labels == "one_hot"
    labels = "np.eye(10, dtype=np.float32)[labels]" if hot else "labels.astype(np.int32)"
    smoothing = trial.training.label_smoothing
    loss = "SparseCategoricalCrossentropy()"
    if hot:
        loss = f"CategoricalCrossentropy(label_smoothing={smoothing})"
    return f'''
def targets(labels):
    """What the loss compares with."""
    return {labels}


def train(images, labels):
    """The trained model, and Keras's history: lists of loss, accuracy, val_loss and so on."""
    train_part, val_part = split(images, labels)
    keras.utils.set_random_seed(SEED)
    model = build_model()
    # XLA draws other random numbers for dropout than TensorFlow's own kernels do.
    model.compile(
        {_optimizer(trial)},
        keras.losses.{loss},
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
{listed}
        ],
        verbose=2,
    )
    return model, history.history


if __name__ == "__main__":
    (images, labels), test = load(*sys.argv[1:2])
    model, history = train(images, labels)
    loss, accuracy = model.evaluate(pixels(test[0]), targets(test[1]), batch_size=1000, verbose=0)
    print(f"Test set: loss {{loss:.4f}}, accuracy {{accuracy:.4f}}")
'''


def _optimizer(trial: Trial) -> str:
    arguments = {key: value for key, value in trial.optimizer.items() if key != "_target_"}
    arguments["learning_rate"] = float(arguments["learning_rate"])
    if argument := KERAS_ARGUMENTS.get(trial.clipping.name):
        arguments[argument] = trial.clipping.threshold
    target = str(trial.optimizer["_target_"])
    if not target.startswith("keras.optimizers."):
        raise RequestError(
            f"`--out` may be a Python file where the optimizer is one of Keras's, got {target!r}; "
            "for this trial take .yaml or .json."
        )
    return call(target, arguments)


def call(function: str, arguments: Mapping[str, Any]) -> str:
    """A call of a function, as Python writes it."""
    return f"{function}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _plateau(trial: Trial) -> list[str]:
    node = trial.scheduler
    if not formulas.is_performance(node):
        return []
    keys = ("mode", "factor", "patience", "min_delta", "cooldown", "min_lr")
    arguments = {"monitor": _log(node["monitor"])} | {key: node[key] for key in keys if key in node}
    return [call("keras.callbacks.ReduceLROnPlateau", arguments)]


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
    return [call("keras.callbacks.EarlyStopping", arguments)]


def _log(metric: str) -> str:
    """Keras's name of a metric."""
    part, _, what = metric.partition("/")
    return _LOGS[part] + what
