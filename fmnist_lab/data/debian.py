"""Debian and Ubuntu packages, downloaded and unpacked without root or a change to the system."""

import os
import shutil
import subprocess
from pathlib import Path


class SourceError(Exception):
    """A source of the data that cannot be used; the message has the reason."""


COMMAND_SECONDS = 600  # for one program; apt gives up sooner when nothing at all arrives

# The hooks are cleared because the system's may tidy up in its own folders.
_SETTINGS = """\
Dir::Cache "{work}/cache/";
Debug::NoLocking "true";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
_PRIVATE_LISTS = 'Dir::State::lists "{work}/lists/";\n'


def unpack_package(name: str, work: Path) -> Path:
    """Unpacks the package `name` below the empty folder `work`; returns what stands for `/`.

    Raises:
        SourceError: apt-get or dpkg is missing, fails or takes too long.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SourceError("this system has no apt-get and dpkg")
    _download(name, work)
    (archive,) = work.glob("*.deb")
    _run(work, "dpkg", "-x", archive.name, "root")
    return work / "root"


def _download(name: str, work: Path) -> None:
    """Tries the system's package lists first; where they are absent or old, private ones."""
    settings = work / "apt.conf"
    settings.write_text(_SETTINGS.format(work=work))
    apt_get = ("apt-get", "--config-file", str(settings))
    try:
        _run(work, *apt_get, "download", name)
    except SourceError:
        (work / "output").unlink()
        (work / "lists" / "partial").mkdir(parents=True)
        settings.write_text((_SETTINGS + _PRIVATE_LISTS).format(work=work))
        _run(work, *apt_get, "update")
        _run(work, *apt_get, "download", name)


def _run(work: Path, *command: str) -> None:
    """Runs a program in `work`; the first complaint in its output becomes the error."""
    output = work / "output"  # no pipe: apt's helpers may outlive it and would hold a pipe open
    try:
        with output.open("a") as stream:
            subprocess.run(
                command,
                cwd=work,
                env=os.environ | {"LC_ALL": "C"},
                stdout=stream,
                stderr=stream,
                timeout=COMMAND_SECONDS,
                check=True,
            )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} took more than {COMMAND_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        lines = output.read_text(errors="replace").splitlines()
        complaints = [line for line in lines if line.startswith(("E:", "W:", "dpkg"))]
        reason = complaints[0] if complaints else f"exit code {error.returncode}"
        raise SourceError(f"{command[0]} failed ({reason})") from error
