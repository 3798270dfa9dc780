"""The MLflow UI on this folder's store."""

import os
import socket
import sys
from collections.abc import Iterator

from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.launcher.options import LOOPBACK
from fmnist_lab.tracking import (
    artifacts,
    database,
    open_experiment,
    runs_page,
    store_uri,
    write_views,
)

HOST = "127.0.0.1"  # this machine alone: the UI asks nobody for a password


def serve(port: int, host: str = HOST) -> None:
    """Becomes the MLflow server, until Ctrl-C.

    Args:
        port: To listen at.
        host: Another address of this machine makes it a server for a network.

    Raises:
        RequestError: Nothing was recorded here yet, the port is taken, or the host is none.
    """
    if not host.strip():  # sockets take it for every address of the machine
        raise RequestError(f"`--host` must be an address of this machine, got {host!r}.")
    if not database().exists():
        raise RequestError(
            f"`{database()}` must hold runs to show, got none; record one with: fmnist-lab train."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (TypeError, ValueError) as error:  # it cannot be a name, as IDNA spells those
            raise RequestError(
                f"`--host` must be an address of this machine, got {host!r}."
            ) from error
        except OSError as error:
            raise RequestError(
                f"`--port` must be a free port on {host}, got {port}: {error.strerror}."
            ) from error
    for line in _links(f"http://{host}:{port}"):
        print(line)
    if host not in LOOPBACK:
        print(
            f"Caution: MLflow asks nobody for a password. Whoever reaches {host}:{port} can read, "
            "change and delete all runs: see docs/security.md.",
            file=sys.stderr,
        )
    print("Ctrl-C ends the server.")
    sys.stdout.flush()
    options = {
        "--backend-store-uri": store_uri(),
        "--default-artifact-root": artifacts(),
        "--host": host,
        "--port": str(port),
        "--workers": "1",  # the default four take 1 GB
    }
    # Background jobs serve features for language models; they cost processes and log lines.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    arguments = [word for option in options.items() for word in option]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *arguments])


def _links(server: str) -> Iterator[str]:
    """What there is to look at, and where."""
    client, experiment = open_experiment(TrackingConfig())
    latest = write_views(client)
    if latest:
        yield f"Latest sweep: {latest.name}"
        for view in latest.views:
            yield f"  {view.what}:\n    {server}{view.address(latest.experiment_id)}"
        experiment = latest.experiment_id
    yield f"All runs: {server}{runs_page(experiment)}"
