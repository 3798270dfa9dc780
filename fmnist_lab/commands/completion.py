"""Tab completion of `fmnist-lab train`, by Hydra's own completion script.

    eval "$(fmnist-lab train -sc install=bash)"

Hydra's script takes the first word of a line for the whole application, so it asks
`fmnist-lab -sc query=bash`. The line is answered here: by Hydra where it belongs to
`train`, else with the names of the commands.
"""

import os
from collections.abc import Sequence


def answer(arguments: Sequence[str], commands: Sequence[str]) -> None:
    """Prints what may follow the words in the environment variable `COMP_LINE`."""
    program, _, rest = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
    command, space, overrides = rest.lstrip().partition(" ")
    if command == "train" and space:
        from fmnist_lab.commands import train

        os.environ["COMP_LINE"] = f"{program} {overrides}"
        train.main(list(arguments))
    else:
        print(" ".join(name for name in commands if name.startswith(command)))
