"""Jobs on real worker processes: order, losses, interruptions, and nothing left behind."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from distributed import Client, Security
from hydra.core.utils import JobReturn, JobStatus

from fmnist_lab.errors import ConnectionLostError, RequestError
from fmnist_lab.launcher.cluster import keep_workers
from fmnist_lab.launcher.options import Settings, exposure, without_credentials
from fmnist_lab.launcher.streaming import WorkerLostError, streams
from tests.support.jobs import pids, task
from tests.support.launchers import Launcher, launcher, wait_for, workers
from tests.support.sweeping import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Two local workers, shared by the tests that leave them usable; forked, as in our sweeps."""
    settings = ("workers=2", "retries=1", "preload=[wave]")
    with launcher(task, tmp_path_factory.mktemp("sweep"), *settings) as started:
        yield started


def one(jobs: Launcher, *overrides: str) -> JobReturn:
    jobs.submit([f"+{override}" for override in overrides], 0)
    ended = jobs.next_result(60)
    assert ended is not None
    return ended[1]


def test_it_is_a_streaming_launcher(jobs: Launcher) -> None:
    assert streams(jobs)
    assert jobs.slots == 2


def test_asking_for_a_streaming_launcher_does_not_connect(tmp_path: Path) -> None:
    with launcher(task, tmp_path / "sweep", "address=tcp://127.0.0.1:9") as nowhere:
        assert streams(nowhere)
    assert not (tmp_path / "sweep").exists()


def test_a_free_worker_gets_the_next_job_at_once(jobs: Launcher) -> None:
    for idx, seconds in enumerate([3, 0.1, 0.1, 0.1, 0.1]):
        jobs.submit(["+do=nap", f"+seconds={seconds}"], idx)
    ended = [jobs.next_result(60) for _ in range(5)]
    assert [entry[0] for entry in ended if entry] == [1, 2, 3, 4, 0]


def test_without_jobs_there_is_no_result(jobs: Launcher) -> None:
    assert jobs.next_result() is None


def test_events_of_other_clients_are_passed_over(
    jobs: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    one(jobs, "do=nap", "seconds=0")  # opens the stream
    ours, raised, events = jobs.stream._client, [], []
    handle = jobs.stream._on_event

    def watch(event: tuple[float, Any]) -> None:
        events.append(event[1])
        try:
            handle(event)
        except Exception as error:
            raised.append(error)

    monkeypatch.setitem(ours._event_handlers, "all", watch)
    with Client(ours.scheduler.address, security=ours.security, set_as_default=False):
        pass
    wait_for(lambda: {"add-client", "remove-client"} <= {event["action"] for event in events})
    assert raised == []


def test_a_timeout_gives_none_and_loses_nothing(jobs: Launcher) -> None:
    jobs.submit(["+do=nap", "+seconds=1"], 0)
    assert jobs.next_result(0.05) is None
    assert (jobs.next_result(60) or (None,))[0] == 0


def test_results_of_a_batch_are_in_the_order_of_the_jobs(jobs: Launcher) -> None:
    batch = jobs.launch([["+do=nap", f"+seconds={s}"] for s in (0.5, 0.1, 0.2)], 4)
    assert [result.return_value for result in batch] == [0.5, 0.1, 0.2]
    assert [result.hydra_cfg.hydra.job.id for result in batch if result.hydra_cfg] == [
        "4",
        "5",
        "6",
    ]


def test_a_module_keeps_its_state_between_the_jobs_of_a_worker(jobs: Launcher) -> None:
    results = [one(jobs, "do=count_calls").return_value for _ in range(6)]
    for pid in {pid for pid, _ in results}:
        calls = [call for worker, call in results if worker == pid]
        assert calls == list(range(calls[0], calls[0] + len(calls)))


def test_jobs_see_the_folder_and_one_thread_for_arithmetic(jobs: Launcher) -> None:
    folder, environment = one(jobs, "do=look_around").return_value
    assert folder == str(Path().absolute())
    assert environment["OMP_NUM_THREADS"] == environment["TF_NUM_INTRAOP_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_job_of_a_killed_worker_is_tried_again(jobs: Launcher, tmp_path: Path) -> None:
    result = one(jobs, "do=die", "times=1", f"file={tmp_path / 'log'}")
    assert result.status == JobStatus.COMPLETED
    assert len(pids(tmp_path / "log")) == 2
    wait_for(lambda: jobs.slots == 2)  # and the worker has been replaced


def test_after_the_last_attempt_the_loss_is_the_result(jobs: Launcher, tmp_path: Path) -> None:
    jobs.submit(["+do=die", "+times=9", f"+file={tmp_path / 'log'}"], 3)
    ended = jobs.next_result(60)
    assert ended is not None
    assert ended[0] == 3
    assert ended[1].status == JobStatus.FAILED
    assert ended[1].overrides == ["+do=die", "+times=9", f"+file={tmp_path / 'log'}"]
    lost = r"\b3 .* 2 .* tls://127\S* .* 9,"  # the job, attempts, the worker, the signal
    with pytest.raises(WorkerLostError, match=lost):
        _ = ended[1].return_value
    assert len(pids(tmp_path / "log")) == 2


def test_a_finished_job_is_not_repeated_when_its_worker_dies(
    jobs: Launcher, tmp_path: Path
) -> None:
    jobs.submit(["+do=note", f"+file={tmp_path / 'log'}"], 0)
    wait_for(lambda: pids(tmp_path / "log"))
    time.sleep(0.5)  # it has ended, and its result has not been taken yet
    os.kill(pids(tmp_path / "log")[0], signal.SIGKILL)
    time.sleep(1)
    assert (jobs.next_result(60) or (None,))[0] == 0
    assert len(pids(tmp_path / "log")) == 1


def test_nor_when_its_worker_dies_in_the_very_moment(jobs: Launcher, tmp_path: Path) -> None:
    for idx in range(4):
        file = tmp_path / f"log{idx}"
        overrides = ["do=end_and_die", f"file={file}", f"idx={idx}"]
        results = jobs.stream._cluster.results
        jobs.submit([*(f"+{override}" for override in overrides), f"+results={results}"], idx)
        ended = jobs.next_result(60)
        assert ended is not None
        assert ended[1].status == JobStatus.COMPLETED
        assert len(pids(file)) == 1
        wait_for(partial(gone, str(ended[1].return_value)))


def gone(pid: str) -> bool:
    return not Path("/proc", pid).exists()


# Over more than 15 s: Dask's own local cluster, which is not ours, gives up on such a worker.
@pytest.mark.parametrize("deaths", [4, pytest.param(16, marks=pytest.mark.faults)])
def test_workers_that_keep_dying_are_replaced(jobs: Launcher, tmp_path: Path, deaths: int) -> None:
    for idx in range(deaths):
        one(jobs, "do=die", "times=1", f"file={tmp_path / str(idx)}")
        time.sleep(0.5)
    wait_for(lambda: jobs.slots == 2)


def test_a_worker_that_is_killed_as_it_starts_is_replaced(tmp_path: Path) -> None:
    others = set(workers(os.getpid()))

    def kill() -> None:
        wait_for(lambda: not others.issuperset(workers(os.getpid())))
        killed.update(set(workers(os.getpid())) - others)
        for worker in killed:
            worker.kill()

    killed: set[Any] = set()
    killing = threading.Thread(target=kill)
    killing.start()
    with launcher(task, tmp_path, "workers=1") as jobs:
        result = one(jobs, "do=look_around")
        killing.join()
        assert result.status == JobStatus.COMPLETED
        assert len(killed) == 1


def test_an_exception_keeps_its_traceback_and_its_cause(jobs: Launcher) -> None:
    result = one(jobs, "do=fail")
    with pytest.raises(ValueError, match="what it led to") as caught:
        _ = result.return_value
    assert caught.traceback[-1].name == "fail"
    assert caught.traceback[-1].path == Path(task.__code__.co_filename)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__cause__.__traceback__ is not None


def test_an_exception_that_cannot_be_pickled_arrives_as_text(jobs: Launcher) -> None:
    with pytest.raises(RuntimeError, match=r"in fail_awkwardly[\s\S]*RuntimeError: \('awkward'"):
        _ = one(jobs, "do=fail_awkwardly").return_value


def test_a_result_that_cannot_be_pickled_is_named(jobs: Launcher) -> None:
    with pytest.raises(TypeError, match=r"\b0 .*\block\b"):
        _ = one(jobs, "do=return_a_lock").return_value


def test_an_override_that_cannot_be_composed_fails_its_job(jobs: Launcher) -> None:
    result = one(jobs, "do=nap", "hydra.launcher=nonsense", "no_such_group@=1")
    assert result.status == JobStatus.FAILED


def test_leaving_in_a_job_is_leaving(jobs: Launcher) -> None:
    with pytest.raises(SystemExit) as caught:
        one(jobs, "do=leave")
    assert caught.value.code == 7


def test_a_terminated_worker_lets_its_job_record_that(jobs: Launcher, tmp_path: Path) -> None:
    file = tmp_path / "log"
    jobs.submit(["+do=wait_long", f"+file={file}"], 0)
    wait_for(lambda: pids(file))
    os.kill(pids(file)[0], signal.SIGTERM)
    wait_for(lambda: file.with_suffix(".interrupted").exists())
    wait_for(lambda: len(pids(file)) == 2)  # tried again
    jobs.cancel_all()


def test_cancelling_interrupts_forgets_and_leaves_the_workers(
    jobs: Launcher, tmp_path: Path
) -> None:
    files = [tmp_path / f"log{idx}" for idx in range(4)]
    for idx, file in enumerate(files):
        jobs.submit(["+do=wait_long", f"+file={file}"], idx)
    wait_for(lambda: pids(files[0]) and pids(files[1]))
    start = time.monotonic()
    jobs.cancel_all()
    assert time.monotonic() - start < 3
    assert [file.with_suffix(".interrupted").exists() for file in files] == [
        True,
        True,
        False,
        False,
    ]
    assert jobs.next_result() is None
    assert one(jobs, "do=note", f"file={tmp_path / 'new'}").return_value in {
        *pids(files[0]),
        *pids(files[1]),
    }


def test_the_local_cluster_lets_in_nobody_else(jobs: Launcher) -> None:
    one(jobs, "do=nap", "seconds=0")  # opens the stream
    address = jobs.stream._cluster.client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    strangers = {address.replace("tls", "tcp"): None, address: Security.temporary()}
    for known_as, papers in strangers.items():
        with pytest.raises(OSError, match=r"(?i)comm|timed out|cert|reset|closed"):
            Client(known_as, security=papers, timeout=5)


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://lab.example:8786", True),
        ("tcp://0.0.0.0:8786", True),
        ("tls://lab.example:8786", False),
        ("tcp://127.0.0.1:8786", False),
    ],
)
def test_a_scheduler_that_a_network_reaches_needs_tls(address: str, warned: bool) -> None:
    assert (exposure(address) is not None) is warned


def test_the_end_of_the_local_cluster_is_an_error(tmp_path: Path) -> None:
    with launcher(task, tmp_path, "workers=1") as jobs:
        jobs.submit(["+do=wait_long", f"+file={tmp_path / 'log'}"], 0)
        wait_for(lambda: pids(tmp_path / "log"))
        host = jobs.stream._cluster._host
        assert host is not None
        host.process.kill()
        with pytest.raises(ConnectionLostError):
            jobs.next_result(30)
        wait_for(lambda: not Path(f"/proc/{pids(tmp_path / 'log')[0]}").exists())


def test_a_job_that_needs_too_much_memory_is_lost(tmp_path: Path) -> None:
    with launcher(task, tmp_path, "workers=1", "retries=0", "memory_limit=500MB") as jobs:
        result = one(jobs, "do=eat")
        assert isinstance(result._return_value, WorkerLostError)
        assert "`hydra.launcher.memory_limit`" in str(result._return_value)


def test_what_workers_print_can_go_to_a_file(tmp_path: Path) -> None:
    with launcher(print, tmp_path, "workers=1", f"output={tmp_path / 'logs' / 'out'}") as jobs:
        assert one(jobs, "word=something").status == JobStatus.COMPLETED
    assert "something" in (tmp_path / "logs" / "out").read_text()


def test_a_task_that_cannot_leave_the_process_is_refused(tmp_path: Path) -> None:
    lock = threading.Lock()
    with launcher(lambda cfg: lock, tmp_path) as jobs, pytest.raises(RequestError, match="lock"):
        jobs.submit([], 0)


@pytest.mark.parametrize(
    "values",
    [
        {"workers": 0},
        {"threads_per_worker": 0},
        {"retries": -1},
        {"memory_limit": "much"},
        {"address": "here"},
        {"address": "tcp://a:1", "workers": 2},
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        Settings.checked(values)
    key, value = list(values.items())[-1]
    assert (refused.value.key, refused.value.got) == (f"hydra.launcher.{key}", repr(value))


def test_an_address_is_shown_without_its_password() -> None:
    assert without_credentials("tls://me:secret@host:8786") == "tls://host:8786"


def test_preloaded_workers_are_forked_from_a_process_that_has_imported_the_modules(
    jobs: Launcher,
) -> None:
    for idx in range(4):
        jobs.submit(["+do=look_at_modules", "+seconds=0.2"], idx)
    seen = [ended[1].return_value for ended in iter(lambda: jobs.next_result(60), None)]
    assert {imported for imported, _ in seen} == {True}
    assert len({parent for _, parent in seen}) == 1
    assert "forkserver" in " ".join(psutil.Process(seen[0][1]).cmdline())


def test_a_module_that_fails_to_load_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    failure = pytest.raises(ConnectionLostError)
    with launcher(task, tmp_path, "workers=1", "preload=[broken]") as jobs, failure:
        one(jobs, "do=nap", "seconds=0")


def test_prepared_workers_take_the_first_job_or_end_without_one(tmp_path: Path) -> None:
    note = ("do=note", f"file={tmp_path / 'log'}")
    with launcher(task, tmp_path, "workers=1") as jobs:
        jobs.prepare()
        prepared = jobs._host
        assert prepared is not None
        first = one(jobs, *note).return_value
        assert jobs.stream._cluster._host is prepared
        jobs.close()
        jobs.close()  # does nothing
        assert gone(str(first))
        assert one(jobs, *note).return_value != first  # a job starts workers, too
        jobs.close()
        jobs.prepare()
        unused = jobs._host
        assert unused is not None
    assert prepared.process.returncode == 0
    assert unused.process.returncode == -signal.SIGKILL  # nothing is lost, and it may be starting


def test_workers_that_are_not_used_leave_no_file(tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "workers.log"
    with launcher(task, tmp_path, "workers=1", f"output={output}") as jobs:
        jobs.prepare()
        assert output.exists()
    assert not (tmp_path / "new").exists()


def test_launches_share_workers_that_are_kept_and_fit(tmp_path: Path) -> None:
    seen = []
    with keep_workers():
        for number, workers in enumerate([1, 1, 2]):
            with launcher(task, tmp_path / str(number), f"workers={workers}") as jobs:
                jobs.prepare()
                seen.append(one(jobs, "do=count_calls").return_value)
                jobs.submit(["+do=nap", "+seconds=60"], 1)  # interrupted, and not in their way
                jobs.cancel_all()
    (first, _), (second, calls), (third, _) = seen
    assert first == second != third
    assert calls == 2
    assert not psutil.pid_exists(second)
    assert not psutil.pid_exists(third)
