"""Bash completion, asked the way Hydra's script asks."""

import subprocess
import sys

import pytest


def complete(line: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-m", "fmnist_lab", "-sc", "query=bash"],
        env={"COMP_LINE": line, "COMP_POINT": str(len(line)), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fmnist-lab co", ["compare"]),
        ("fmnist-lab train scheduler=cos", ["scheduler=cosine", "scheduler=cosine_restarts"]),
        ("fmnist-lab train scheduler=cosine training.epo", ["training.epochs="]),
    ],
)
def test_a_line_is_completed(line: str, offered: list[str]) -> None:
    assert complete(line) == offered
