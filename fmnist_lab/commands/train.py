"""`fmnist-lab train`: a Hydra application that trains one trial, or with `-m` many."""

from pathlib import Path

from fmnist_lab.foundation.files import require_writable
from fmnist_lab.hydra_app.run import run, shows, trials

ROOT = Path("mlruns")


def main(arguments: list[str], kind: str = "trial") -> Path:
    """Runs Hydra on the given command line, and returns the folder of the trial or multirun.

    Args:
        arguments: The words behind `train`.
        kind: What may be trained.

    Raises:
        RequestError: Hydra, the schema or a check refuses the configuration.
    """
    if not shows(arguments):
        require_writable(ROOT)
    # What completion is installed for is a command; what usage and errors show is a subcommand.
    return run(trials, "fmnist-lab" if "-sc" in arguments else "fmnist-lab train", arguments, kind)
