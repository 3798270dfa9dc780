"""What people see in the MLflow UI: `fmnist-lab ui` with a real sweep, in a real Chromium.

One sweep, one server and one browser page serve all tests here. They find things as people do,
by what is written there, and where nothing is written by the UI's own marks.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import run_here
from tests.support.sweeping import ROOT, wait_for

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
STRATEGIES = ("constant", "cosine", "exponential", "one_cycle")
SWEEP = """# @package _global_
# Question: what does a sweep look like in the browser?
defaults:
  - override /data: synthetic
  - override /architecture: mlp
  - override /stopping: patience
  - override /hydra/sweeper: fmnist_lab
  - override /hydra/sweeper/sampler: qmc

data: {train_size: 320, val_size: 100}
architecture: {hidden_sizes: [16]}
training: {epochs: 5}
stopping: {patience: 1}
replicates: 0

hydra:
  sweeper:
    n_trials: 2
    sampler: {seed: 0, scramble: true}
    strategies:
      constant: scheduler=constant
      cosine: scheduler=cosine
      exponential: scheduler=exponential
      one_cycle: scheduler=one_cycle
"""
# Whether a column shows these numbers from top to bottom; the grid keeps its rows in any order.
COLUMN_IS = """([name, wanted]) => {
    const cells = [...document.querySelectorAll(`[role=gridcell][col-id*="${name}"]`)];
    const row = (cell) => Number(cell.closest("[row-index]").getAttribute("row-index"));
    const shown = cells.sort((one, other) => row(one) - row(other)).map((c) => Number(c.innerText));
    return JSON.stringify(shown) === JSON.stringify(wanted);
}"""
SECONDS = 60.0  # for a page on a busy machine
RESULTS = ROOT / "docs" / "results"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@dataclass(frozen=True)
class Served:
    """A folder with a sweep, and the UI on it."""

    folder: Path
    port: int
    printed: str

    def link(self, title: str) -> str:
        """The link that was printed below a title."""
        found = re.search(rf"{re.escape(title)}:\n\s+(http\S+)", self.printed)
        assert found, self.printed
        return found[1]

    def run_page(self, run_id: str) -> str:
        return f"http://127.0.0.1:{self.port}/#/experiments/1/runs/{run_id}"

    @property
    def sweep_run(self) -> str:
        where = json.loads((self.folder / "mlruns/sweeps/browse/mlflow.json").read_text())
        return str(where["run_id"])

    def trials(self) -> list[dict[str, object]]:
        paths = (self.folder / "mlruns/sweeps/browse").glob("trials/*/result.json")
        return [json.loads(path.read_text()) for path in paths]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts `fmnist-lab` in a folder, out of reach of the user's own settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FMNIST_LAB", "MLFLOW"))}
    with (folder / f"{arguments[0]}.log").open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_lab", *arguments],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("browse")
    (folder / "sweeps").mkdir()
    (folder / "sweeps/browse.yaml").write_text(SWEEP)
    for command in (("sweep", "browse", "hydra/launcher=basic"), ("compare", "browse")):
        done = run_here(folder, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = start(folder, "ui", "--port", str(port))
    try:
        wait_for(lambda: listening(port) or server.poll() is not None, seconds=100)
        assert server.poll() is None, log(folder, "ui")
        yield Served(folder, port, log(folder, "ui"))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def log(folder: Path, command: str) -> str:
    return (folder / f"{command}.log").read_text()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def page(served: Served) -> Iterator[Page]:
    """A page as wide as a laptop's; the assistant that MLflow shows beside it is closed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        expect.set_options(timeout=1000 * SECONDS)
        page.goto(served.link("all trials, sortable by any column"))
        page.get_by_role("button", name="Close").first.click()
        yield page
        browser.close()


def visit(page: Page, address: str) -> None:
    page.goto("about:blank")  # the UI stays in place where only the part after # changes
    page.goto(address)


def test_the_links_are_printed_and_the_server_is_for_this_machine_alone(served: Served) -> None:
    assert ": browse" in served.printed
    sockets = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    words = [line.split() for line in sockets.splitlines()]
    addresses = {
        word[1].partition(":")[0]
        for word in words
        if word[3] == "0A" and word[1].endswith(f":{served.port:04X}")
    }
    assert addresses == {"0100007F"}  # 127.0.0.1, as the kernel spells it


def test_trials_are_grouped_by_strategy(served: Served, page: Page) -> None:
    visit(page, served.link("each strategy's trials, grouped"))
    for strategy in STRATEGIES:
        expect(page.get_by_text(f"Group: {strategy}", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name=re.compile(f"^{strategy}-lr"))).to_have_count(2)


def test_stopping_epochs_are_a_column_that_sorts(served: Served, page: Page) -> None:
    visit(page, served.link("all trials, sortable by any column"))
    stopped = sorted(int(str(trial["epochs_trained"])) for trial in served.trials())
    for wanted in (stopped[::-1], stopped):  # the first click puts the largest on top
        page.locator('[role=columnheader][col-id*="stop/epoch"]').click()
        page.wait_for_function(COLUMN_IS, arg=["stop/epoch", wanted])


def test_curves_of_all_strategies_in_one_chart_and_rates_beside_it(
    served: Served, page: Page
) -> None:
    visit(page, served.link("curves and learning rates of each strategy's best trial"))
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    accuracy, rate = (cards.filter(has_text=name) for name in ("val/accuracy", "opt/learning_rate"))
    for strategy in STRATEGIES:
        expect(accuracy.get_by_text(f"{strategy} (val/accuracy)")).to_be_attached()
        expect(rate.get_by_text(f"{strategy} (opt/learning_rate)")).to_be_attached()
    left, right = accuracy.bounding_box(), rate.bounding_box()
    assert left
    assert right
    assert (left["y"], left["width"]) == (right["y"], right["width"])
    assert left["x"] + left["width"] <= right["x"]


def test_the_sweeps_description_is_its_leaderboard(served: Served, page: Page) -> None:
    visit(page, served.run_page(served.sweep_run))
    page.get_by_text("Show more").first.click()
    expect(page.get_by_role("heading", name="Strategies")).to_be_visible()
    for strategy in STRATEGIES:
        expect(page.get_by_role("cell", name=strategy, exact=True).first).to_be_visible()
    linked = page.get_by_role("cell").get_by_role("link").first.get_attribute("href")
    visit(page, f"http://127.0.0.1:{served.port}/{linked}")  # a click would open another tab
    expect(page.get_by_text("Repeat with")).to_be_visible()  # the page of that trial


def test_a_trials_description_repeats_it(served: Served, page: Page) -> None:
    trial = served.trials()[0]
    visit(page, served.run_page(str(trial["mlflow_run_id"])))
    expect(page.get_by_text("fmnist-lab train")).to_be_visible()
    expect(page.get_by_text(f"{trial['stop_reason']} after")).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert not wide


def test_the_report_opens_in_the_artifact_view(served: Served, page: Page) -> None:
    visit(page, f"{served.run_page(served.sweep_run)}/artifacts")
    page.get_by_text("report.html").first.click()
    report = page.frame_locator("iframe.mlflow-html-iframe")
    expect(report.get_by_role("heading", name="browse")).to_be_visible()
    for strategy in STRATEGIES:
        expect(report.get_by_text(strategy, exact=True).first).to_be_visible()


@pytest.fixture
def offline(page: Page) -> Iterator[Page]:
    """A page without a network."""
    assert page.context.browser
    context = page.context.browser.new_context(offline=True)
    yield context.new_page()
    context.close()


def test_a_published_report_draws_its_charts_without_a_network(offline: Page) -> None:
    assert sum(path.stat().st_size for path in RESULTS.rglob("*")) < 5_000_000
    report = RESULTS / "control" / "report.html"
    offline.goto(report.as_uri())
    charts = report.read_text(encoding="utf-8").count('<script type="application/json">')
    assert charts > 2
    expect(offline.locator(".chart.js-plotly-plot")).to_have_count(charts)


@pytest.fixture
def factors(tmp_path: Path) -> str:
    """The published report of 4 schedules in 8 cells, with the style and script of today."""
    published = RESULTS / "factors" / "report.html"
    style, script = (
        (resources.files("fmnist_lab.report") / file).read_text("utf-8")
        for file in ("style.css", "charts.js")
    )
    before, _, after = published.read_text("utf-8").rpartition("<script>")[0].partition("<style>")
    base = f'<base href="{published.as_uri()}">'
    body = after.partition("</style>")[2]
    text = f"{before}{base}<style>{style}</style>{body}<script>{script}</script>"
    (tmp_path / "report.html").write_text(text, "utf-8")
    return (tmp_path / "report.html").as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_report_of_32_strategies_is_as_wide_as_the_page(
    offline: Page, factors: str, width: int
) -> None:
    offline.set_viewport_size({"width": width, "height": 900})
    offline.goto(factors)
    expect(offline.locator(".chart.js-plotly-plot").last).to_be_visible()
    assert offline.evaluate("document.documentElement.scrollWidth") == width


def test_a_chart_shows_the_schedules_of_one_cell(offline: Page, factors: str) -> None:
    offline.goto(factors)
    heading = offline.get_by_role("heading", name="Learning rates")
    section = offline.locator("section", has=heading)
    menu, buttons = section.get_by_label("cell"), section.locator(".legend button")
    lines = section.locator(".scatterlayer .trace")
    expect(lines).to_have_count(4)
    expect(buttons).to_have_count(4)
    buttons.filter(has_text="one_cycle").click()
    expect(lines).to_have_count(3)
    menu.select_option("momentum, 128, mlp")
    expect(lines).to_have_count(3)  # what is hidden stays so in another cell
    menu.select_option("all cells")
    expect(lines).to_have_count(24)
    buttons.filter(has_text="one_cycle").click()
    expect(lines).to_have_count(32)
