"""A model as the lines of a Python file: the layers of its architecture, in Keras's words."""

import inspect
from collections.abc import Mapping
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.trial import Trial


def define(trial: Trial) -> list[str]:
    """A function `build_model()` whose model starts from the weights of the trial's own.

    Layers are made in the order and with the initializers of the architecture, since Keras draws
    a seed for each of them.

    Raises:
        RequestError: The architecture is not a plain stack of Keras's own layers.
    """
    from fmnist_lab.training.engines import building  # first: it imports Keras without its messages

    model = building.build_model(trial)
    from keras import Sequential, layers

    stack = model.layers if isinstance(model, Sequential) else [model]
    for layer in stack:
        if getattr(layers, type(layer).__name__, None) is not type(layer):
            raise RequestError(
                "`--out` may be a Python file where the architecture is a Sequential of Keras's "
                f"layers, got a {type(layer).__name__}; for this trial take .yaml or .json."
            )
    shape = tuple(model.input_shape[1:])
    return [
        "def build_model():",
        f'    """{trial.architecture["_target_"]}: {model.count_params():,} parameters."""',
        "    return keras.Sequential(",
        "        [",
        f"            keras.Input({shape}),",
        *(f"            {_layer(layer)}," for layer in stack),
        "        ]",
        "    )",
    ]


def _layer(layer: Any) -> str:
    """The call that makes such a layer; arguments that have their default are left out."""
    settings, kind = layer.get_config(), type(layer)
    arguments = []
    for name, parameter in _parameters(kind).items():
        if name not in settings or name in ("name", "dtype", "trainable", "seed"):
            continue
        value = settings[name]
        default = parameter.default
        if parameter.kind is parameter.VAR_KEYWORD or _same(value, default):
            continue
        told = _value(value)
        arguments.append(told if default is parameter.empty else f"{name}={told}")
    return f"layers.{kind.__name__}({', '.join(arguments)})"


def _parameters(kind: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind.__init__).parameters  # type: ignore[misc]


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, Mapping):
        return not value.get("config", {}).get("l2") and _value(value) == repr(default)
    if isinstance(value, tuple | list):  # (3, 3) for 3
        return value == default or set(value) == {default}
    return bool(value == default) or (default is None and value == "channels_last")


def _value(value: Any) -> str:
    if not isinstance(value, Mapping):
        return repr(value)
    name, settings = value["class_name"], value["config"]
    if value.get("module") == "keras.regularizers":
        return f"regularizers.{name}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"
    if any(setting is not None for setting in settings.values()):
        raise RequestError(
            "`--out` may be a Python file where layers name what they take, got a "
            f"{name} with settings of its own; for this trial take .yaml or .json."
        )
    # An initializer by name draws the same seed as the one that the architecture made.
    return repr(_snake(name))


def _snake(name: str) -> str:
    from keras.src.utils.naming import to_snake_case

    return str(to_snake_case(name))
