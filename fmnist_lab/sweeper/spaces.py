"""Search spaces beside the choices: what each node of a configuration wants searched of itself.

A node such as `scheduler` may hold a mapping `space`, from keys of its own to values in Hydra's
grammar for sweeps. An option brings its space along, so that a search over options spends no
trial on the parameters of an option that is not chosen:

    decay_rate: 0.1
    space:
      decay_rate: tag(log, interval(0.01, 1))
"""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab.sweeper.settings import SweepRequestError


def collect(config: DictConfig, nodes: Sequence[str]) -> dict[str, str]:
    """What the nodes want searched: from absolute key to override grammar, for `space.parse`.

    A number in a space, or a text without a sweep in it, fixes the key in every trial.

    Args:
        config: A composed configuration of any application; its interpolations are resolved.
        nodes: Dotted paths of mappings, such as `scheduler`; one without a space adds nothing.

    Raises:
        SweepRequestError: A node does not exist, or its space is not one.
    """
    found: dict[str, str] = {}
    for path in nodes:
        try:
            space = _space(config, path)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise SweepRequestError(f"`{path}.space` must resolve, got: {reason}.") from error
        found |= {f"{path}.{key}": text for key, text in space.items()}
    return found


def _space(config: DictConfig, path: str) -> dict[str, str]:
    """The space that the node at `path` states, checked; empty where it states none."""
    node = OmegaConf.select(config, path)
    if not isinstance(node, DictConfig):
        raise SweepRequestError(
            f"`hydra.sweeper.spaces` must name mappings of the configuration, got {path!r}."
        )
    space = OmegaConf.select(node, "space", default=OmegaConf.create())
    if not isinstance(space, DictConfig):
        raise SweepRequestError(f"`{path}.space` must be a mapping, got {space!r}.")
    stated = OmegaConf.to_container(space, resolve=True, throw_on_missing=True)
    assert isinstance(stated, dict)
    return {str(key): _checked(node, path, str(key), value) for key, value in stated.items()}


def _checked(node: DictConfig, path: str, key: str, value: object) -> str:
    """The value as override grammar, if it is some and the node has the key."""
    where = f"`{path}.space.{key}`"
    above, _, name = key.rpartition(".")
    holder = OmegaConf.select(node, above) if above else node
    # Not `name in holder`, which is false for `???`: a value that only a search gives.
    if not isinstance(holder, DictConfig) or name not in list(holder) or key == "space":
        allowed = ", ".join(str(known) for known in node if known != "space")
        raise SweepRequestError(
            f"{where} must be a key of `{path}`, got {key!r}; allowed keys: {allowed}."
        )
    if not isinstance(value, str | int | float):
        raise SweepRequestError(
            f"{where} must be what to search, such as interval(0, 1), got {value!r}."
        )
    return str(value)
