"""Runs `fmnist-lab ui`: the MLflow UI on this folder's store."""

import os
import socket
import sys

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.launcher.options import LOOPBACK
from fmnist_lab.tracking import artifacts, database, open_store, runs_page, store_uri, write_views

HOST = "127.0.0.1"  # this machine alone: the UI has no passwords
_ADDRESS = "be an address of this machine"


def serve(port: int, host: str = HOST) -> None:
    """Replaces this process by the MLflow server, which runs until Ctrl-C.

    Raises:
        RequestError: There are no runs here yet, the store cannot be opened, the port is taken, or
            this is not an address.
    """
    if not host.strip():  # sockets take it for every address of the machine
        raise RequestError("--host", _ADDRESS, host)
    if not database().exists():
        hint = "record one with: fmnist-lab train"
        raise RequestError(str(database()), "hold runs to show", Phrase("none"), hint)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (TypeError, ValueError) as error:  # it cannot be a name, as IDNA spells those
            raise RequestError("--host", _ADDRESS, host) from error
        except OSError as error:
            got = Phrase(f"{port}: {error.strerror}")
            raise RequestError("--port", f"be a free port on {host}", got) from error
    address = f"http://{host}:{port}"
    client = open_store()
    found = client.search_experiments(max_results=1)  # the newest that is not deleted
    experiment = found[0].experiment_id if found else "0"
    try:
        latest = write_views(client)
    except Exception as error:  # the UI is of use without them
        latest = None
        print(f"The views of the latest sweep could not be written: {error}", file=sys.stderr)
    if latest:
        experiment = latest.experiment_id
        print(f"Latest sweep: {latest.name}")
        for view in latest.views:
            print(f"  {view.what}:\n    {address}{view.address(experiment)}")
    print(f"All runs: {address}{runs_page(experiment)}")
    if host not in LOOPBACK:
        print(
            f"Caution: MLflow asks for no password. All who can reach {host}:{port} can read, "
            "change and delete all runs: see docs/security.md.",
            file=sys.stderr,
        )
    print("Ctrl-C ends the server.", flush=True)
    # Background jobs serve features for language models; they cost processes and log lines.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    stores = ["--backend-store-uri", store_uri(), "--default-artifact-root", artifacts()]
    server = ["--host", host, "--port", str(port), "--workers", "1"]  # the default four take 1 GB
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *stores, *server])
