"""The command line. Whatever takes long to import is imported by the command that needs it."""

import io
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from fmnist_lab import errors
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.foundation.memory import collect_rarely

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130  # exit codes

app = typer.Typer(
    name="fmnist-lab",
    help="Which learning-rate schedule should I use, by how much is it better, and how sure am I?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_FAILURES = (errors.ConnectionLostError, errors.DataUnavailableError, errors.NotReproducedError,
             errors.TooManyFailuresError)  # fmt: skip
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_Name = Annotated[str | None, typer.Argument(help="A sweep or a multirun; the latest if left out.")]
_Stopping = Annotated[
    str | None, typer.Option(help="Only trials with this early stopping, where it differs.")
]


def main() -> NoReturn:
    """Runs a command; a mistake of the user's is one sentence and exit code 2."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    logging.raiseExceptions = False  # a log on a full disk is no reason for tracebacks
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not a notebook's
            stream.reconfigure(errors="replace")  # terminals and pipes that are not UTF-8
    # Architectures of one's own are imported from the folder where the command runs.
    sys.path.append(str(Path.cwd()))
    try:
        _hide_passwords()
        if sys.argv[1:2] == ["-sc"]:  # Hydra's completion script asks
            _complete(sys.argv[1:])
        else:
            app()
    except errors.RequestError as error:
        _fail(f"{error}", WRONG)
    except _FAILURES as error:
        _fail(f"{error}", FAILED)
    except ImportError:
        _explain_import()
        raise
    except OSError as error:
        if errors.is_denied(error):
            _fail(errors.denied(error), WRONG)
        if errors.is_full_disk(error):
            _fail(errors.full_disk(error), FAILED)
        raise
    sys.exit(DONE)


@app.command(context_settings=_PASS_ON)
def train(context: typer.Context) -> None:
    """Train one trial, or many with -m; a Hydra application (try --help, --cfg job)."""
    try:
        from fmnist_lab.commands import train as application

        application.main(context.args)
    except KeyboardInterrupt:
        _fail("Interrupted; everything trained so far is kept.", INTERRUPTED)


@app.command(context_settings=_PASS_ON | {"help_option_names": ["--help"]})
def sweep(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A file in sweeps/, without its ending.")],
    new: Annotated[bool, typer.Option("--new", help="Start afresh, beside what exists.")] = False,
) -> None:
    """Try the strategies of a sweep, or continue it; overrides as for train."""
    try:
        with _later(signal.SIGINT, signal.SIGTERM):
            collect_rarely()
            from fmnist_lab.commands import sweep as application

            application.load()
        application.main(name, context.args, new)
    except KeyboardInterrupt:
        from fmnist_lab.foundation.secrets import mask

        again = mask(shlex.join(["fmnist-lab", "sweep", name, *context.args]))
        _fail(f"Interrupted; continue with: {again}", INTERRUPTED)


@app.command()
def compare(  # noqa: PLR0913 - an option each
    name: _Name = None,
    *,
    sort: Annotated[
        str | None, typer.Option(help="Order the trials by this column; -COLUMN turns it around.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Show trials for which this holds: 'objective > 0.9', say.")
    ] = None,
    only_changed: Annotated[
        bool, typer.Option("--only-changed/--all-columns", help="Leave out what never differs.")
    ] = True,
    csv: Annotated[
        Path | None, typer.Option(help="Write the trials that are shown to this file, too.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write report.html and the CSV files.")] = True,
    stopping: _Stopping = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="A key that names strategies, in the multirun of another application."),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Of such a multirun: the key of the seed.")] = (
        None
    ),
    maximize: Annotated[
        bool | None,
        typer.Option("--maximize/--minimize", help="Of such a multirun: which way is better."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Of such a multirun: the strategy that others are compared with."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Of such a multirun: differences below it do not matter."),
    ] = None,
) -> None:
    """Compare the strategies of a sweep or a multirun: who is ahead, by how much, how surely.

    NAME may be the folder of a multirun of another Hydra application, too.
    """
    collect_rarely()
    from fmnist_lab.commands import compare as application

    application.main(name, sort, where, only_changed=only_changed, csv=csv, with_report=report,
                     stopping=stopping, strategy=strategy, seed=seed, maximize=maximize,
                     baseline=baseline, margin=margin)  # fmt: skip


@app.command("export-best")
def export_best(
    name: _Name = None,
    *,
    strategy: Annotated[
        str | None, typer.Option(help="Choose among this strategy's trials.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Choose by val/accuracy or val/loss of one seed, or test/accuracy or "
            "test/loss of the replicates, instead of their mean objective."
        ),
    ] = None,
    stopping: _Stopping = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A .yaml, .json or .py (plain Keras) file; else conf/best/NAME.yaml."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Take the best configuration home as a file that trains again to the same curve."""
    from fmnist_lab.commands import export_best as application

    application.main(name, strategy, by, stopping, out=out, force=force)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What export-best wrote, as .yaml or .json.")],
    tracking: Annotated[
        str, typer.Option(help="Record the repetition, too: local or server.")
    ] = "none",
    data: Annotated[
        str | None, typer.Option(help="Where images of your own are: the file does not say it.")
    ] = None,
) -> None:
    """Train an exported file again and compare with its curve: the same, or where it departs."""
    try:
        from fmnist_lab.commands import verify as application

        application.main(file, tracking, data)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing was compared.", INTERRUPTED)


@app.command()
def promote(
    name: _Name = None,
    *,
    strategy: Annotated[
        str | None, typer.Option(help="Promote this strategy's winner, not the sweep's.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Promote the trial with this MLflow run id.")
    ] = None,
    stopping: _Stopping = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even if its numbers are not the recorded ones.")
    ] = False,
) -> None:
    """Register a sweep's best model in MLflow as champion, and say how to serve it."""
    try:
        from fmnist_lab.commands import promote as application

        application.main(name, strategy, run, anyway, stopping)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing was registered.", INTERRUPTED)


@app.command(context_settings={"ignore_unknown_options": True})
def preview(
    request: Annotated[
        list[str] | None,
        typer.Argument(help="Schedulers (all if none), and overrides such as training.epochs=30."),
    ] = None,
) -> None:
    """Draw learning-rate curves, in the terminal and as mlruns/preview.png."""
    from fmnist_lab.commands import preview as application

    application.main(request or [])


@app.command("find-rate", context_settings={"ignore_unknown_options": True})
def find_rate(
    request: Annotated[
        list[str] | None, typer.Argument(help="Overrides, as for train: optimizer=sgd, say.")
    ] = None,
    *,
    low: Annotated[float, typer.Option(help="The first rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last rate, unless the loss diverges.")] = 10.0,
    updates: Annotated[
        int, typer.Option(help="How many rates, one update each.", min=20, max=10_000)
    ] = 200,
    out: Annotated[
        Path | None, typer.Option(help="Write a picture to this .png, .svg or .pdf file, too.")
    ] = None,
) -> None:
    """Draw the loss while the learning rate rises, and suggest a rate and what to search."""
    try:
        from fmnist_lab.commands import find_rate as application

        application.main(request or [], low, high, updates, out)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing was written.", INTERRUPTED)


@app.command()
def data(
    folder: Annotated[
        str | None, typer.Option("--dir", help="A folder with the four files, instead of a search.")
    ] = None,
) -> None:
    """Get Fashion-MNIST, check its checksums, and show examples of its classes."""
    from fmnist_lab.commands import data as application

    application.main(folder)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen at; all but this one open it to a network.")
    ] = "127.0.0.1",
) -> None:
    """Browse this folder's runs in the MLflow UI."""
    from fmnist_lab.commands import ui as server

    server.serve(port, host)


@app.command()
def sync() -> None:
    """Send what the tracking server could not be sent before."""
    try:
        from fmnist_lab.commands import sync as application

        application.main()
    except KeyboardInterrupt:
        _fail("Interrupted; what was sent stays, the rest waits.", INTERRUPTED)


def _hide_passwords() -> None:
    """Starts again without the passwords of typed addresses, which `ps` would show to all."""
    if not any("://" in word for word in sys.argv[1:]):
        return
    from fmnist_lab.foundation import secrets

    kept = secrets.into_environment(sys.argv[1:])
    if kept != sys.argv[1:]:
        print(
            "fmnist-lab: Passwords that are typed can be seen by others of this machine for a "
            "moment, and your shell remembers them; better set MLFLOW_TRACKING_URI or "
            f"{secrets.STORAGE}.",
            file=sys.stderr,
        )
        os.execv(sys.executable, [sys.executable, "-P", "-m", "fmnist_lab", *kept])


def _complete(arguments: list[str]) -> None:
    """Prints what may follow the words in the environment variable `COMP_LINE`.

    Hydra's script takes the first word of a line for the whole application. Hydra answers where
    the line belongs to `train`; else the names of the commands are offered.
    """
    program, _, rest = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
    command, space, overrides = rest.lstrip().partition(" ")
    if command == "train" and space:
        from fmnist_lab.commands import train as application

        os.environ["COMP_LINE"] = f"{program} {overrides}"
        application.main(arguments)
        return
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    print(" ".join(name for name in sorted(names) if name.startswith(command)))


@contextmanager
def _later(*signals: signal.Signals) -> Iterator[None]:
    """Holds signals back: modules written in Cython swallow an interruption of their import."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: received.append(n))
        for number in signals
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    interrupted.set()
    raise KeyboardInterrupt


def _explain_import() -> None:
    from fmnist_lab.foundation.installed import require_versions

    try:
        require_versions()
    except errors.RequestError as error:
        _fail(f"{error}", WRONG)


def _fail(message: str, code: int) -> NoReturn:
    print(f"fmnist-lab: {message}", file=sys.stderr)
    sys.exit(code)
