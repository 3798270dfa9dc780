"""Exported files of others: which contents are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra
from optuna.distributions import CategoricalDistribution

from fmnist_lab import config
from fmnist_lab.config import config_files
from fmnist_lab.config.config_files import Document
from fmnist_lab.errors import RequestError
from fmnist_lab.export import document as recipe
from fmnist_lab.sweeper.space import collect, parse
from tests.conftest import TINY
from tests.support.exporting import copied, document, leave_trial

TUNED = ("scheduler=exponential", "scheduler.decay_epochs=2.5", "optimizer.learning_rate=0.004",
         "stopping=patience", "stopping.patience=4")  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The document of the better trial, to be copied before it is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("content"))
        place = Path("mlruns/multirun/night")
        leave_trial(place, 0, *TUNED, objective=0.7)
        return document(place)


def changed(content: Document, key: str, value: Any) -> str:
    """The file with another value under a dotted key; None removes it."""
    copy = copied(content)
    *parents, last = key.split("/") if key.startswith("exported/") else key.split(".")
    node = copy
    for parent in parents:
        node = node.setdefault(parent, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return f"{config_files.HEADER}\n{yaml.safe_dump(copy, sort_keys=False)}"


CODE = {"_target_": "os.system", "command": "touch pwned"}
CURVE = "evil.yaml: exported.curve"
HOSTILE: list[tuple[str, Any, str, str]] = [  # a key, its value, the error's key and got
    ("optimizer", CODE, "evil.yaml: optimizer", str(CODE)),
    ("scheduler._target_", "os.system", "evil.yaml: scheduler", "os.system"),
    ("architecture.activation", {"module": "os", "class_name": "system"},
     "evil.yaml: architecture.activation", "{'module': 'os', 'class_name': 'system'}"),
    ("scheduler.factors", {"_target_": 1}, "evil.yaml: scheduler.factors", "{'_target_': 1}"),
    ("scheduler.factors", {"a": {"dir": 1}}, "evil.yaml: scheduler.factors", "{'a': {'dir': 1}}"),
    ("scheduler.factors", {"a": "${strategy}"},
     "evil.yaml: scheduler.factors", "{'a': '${strategy}'}"),
    ("architecture._args_", ["x"], "evil.yaml: architecture", "['x']"),
    ("hydra.callbacks.x", CODE, "evil.yaml: hydra", str(CODE)),
    ("hydra.searchpath", ["file:///tmp"], "evil.yaml: hydra", "file:///tmp"),
    ("tracking.uri", "http://127.0.0.1:9", "evil.yaml: tracking", "http://127.0.0.1:9"),
    ("strategy", "${oc.env:HOME}", "evil.yaml: strategy", "'${oc.env:HOME}'"),
    ("optimizer.beta_1", "${oc.env:HOME}", "evil.yaml: optimizer.beta_1", "'${oc.env:HOME}'"),
    ("scheduler.alpha", "${tracking.uri}", "evil.yaml: scheduler.alpha", "'${tracking.uri}'"),
    ("seed", "${fmnist_lab.search_path:}", "evil.yaml: seed", "'${fmnist_lab.search_path:}'"),
    ("data.path", "/etc", "evil.yaml: data", "'/etc'"),
    ("data.dir", "/etc", "evil.yaml: data", "'/etc'"),
    ("defaults", [{"override /hydra/launcher": "dask"}],
     "evil.yaml: defaults.0.override /hydra/launcher.[key]", "'override /hydra/launcher'"),
    ("defaults", ["/scheduler: cosine"], "evil.yaml: defaults.0", "'/scheduler: cosine'"),
    ("defaults", [{"override /scheduler": "../../x"}],
     "evil.yaml: defaults.0.override /scheduler", "'../../x'"),
    ("defaults", [{"override /scheduler": "cosine"}], "evil.yaml: defaults", "'cosine'"),
    ("exported/format", 2, "evil.yaml: exported.format", "2"),
    ("exported/format", "x", "evil.yaml: exported.format", "'x'"),
    ("exported/curve", None, CURVE, "nothing"),
    ("exported/data_checksum", None, "evil.yaml: exported.data_checksum", "nothing"),
    ("exported/trial", "x", "evil.yaml: exported.trial", "'x'"),
    ("exported/epochs_trained", 4, CURVE, "{"),
    ("exported/curve/val", [1.0], CURVE, "[1.0]"),
    ("exported/curve/val", {"loss": [1.0]}, f"{CURVE}.val", "{'loss': [1.0]}"),
    ("exported/curve/val", [float("nan")], f"{CURVE}.val.0", "nan"),
    ("exported/curve/train/loss", [10**400] * 3, "evil.yaml", " 1329 "),
    ("exported/objective", -(10**400), "evil.yaml", " 1329 "),
    ("exported/replicates", {"count": [{"x": 10**400}]}, "evil.yaml", " 1329 "),
    ("seed", 10**400, "evil.yaml", " 1329 "),
    ("exported/environment/threads", 10**9, "evil.yaml: exported.environment.threads", str(10**9)),
    ("exported/strategy", "\x1b]0;pwned\x07", "evil.yaml", "pwned"),
    ("exported", "x", "evil.yaml", "'x'"),
]  # fmt: skip
TEXTS: list[tuple[str, str]] = [  # a file's text, and the error's got
    ("", ""),
    ("a: [", ""),
    ("a: &x [1]\nb: *x", "*x"),
    ("a: !!python/object/apply:os.system ['touch pwned']", "os.system"),
    ("a: " + "[" * 50 + "]" * 50, "9"),
    ("seed: 1\nseed: 2", "duplicate key seed"),
    (f"seed: 0x{'f' * 5000}", " 20000 "),
    ("- 1", "[1]"),
]


class TestHostile:
    """`train best=` and `verify` refuse such a file in one sentence and run nothing."""

    @pytest.mark.parametrize(("key", "value", "wrong", "got"), HOSTILE)
    def test_contents_that_are_refused(
        self, folder: Path, content: Document, key: str, value: Any, wrong: str, got: str
    ) -> None:
        self.refused(changed(content, key, value), wrong, got)

    @pytest.mark.parametrize(("text", "got"), TEXTS)
    def test_texts_that_are_refused(self, folder: Path, text: str, got: str) -> None:
        self.refused(f"{config_files.HEADER}\n{text}", "evil.yaml", got)

    @pytest.mark.parametrize(
        "header", ["# @package hydra", "# mine", "# @package _global_\n# @package hydra.callbacks"]
    )
    def test_where_a_file_may_not_lie(self, folder: Path, content: Document, header: str) -> None:
        text = changed(content, "seed", 1).replace(config_files.HEADER, header)
        self.refused(text, "evil.yaml", header.splitlines()[0])

    def test_an_option_that_is_not_installed(self, folder: Path, content: Document) -> None:
        content = copied(content)
        content["defaults"][3] = {"override /scheduler": "evil"}
        evil = Path("elsewhere/scheduler/evil.yaml")
        evil.parent.mkdir(parents=True)
        evil.write_text(yaml.safe_dump(CODE))
        self.refused(f"{config_files.HEADER}\n{yaml.safe_dump(content)}", "scheduler", "'evil'")

    @pytest.mark.parametrize(("key", "value", "wrong", "got"), HOSTILE[:7])
    def test_hydra_does_not_read_them(
        self, folder: Path, content: Document, key: str, value: Any, wrong: str, got: str
    ) -> None:
        path = Path("conf/best/evil.yaml")
        path.parent.mkdir(parents=True)
        path.write_text(changed(content, key, value))
        with pytest.raises(RequestError) as refused:
            config.compose(["best=evil"])
        assert refused.value.key == wrong
        assert got in refused.value.got
        GlobalHydra.instance().clear()
        assert not Path("pwned").exists()

    def test_a_folder_that_brings_its_own_options(self, folder: Path, content: Document) -> None:
        shadow = Path("there/scheduler/exponential.yaml")
        for path, text in {
            Path("there/best/evil.yaml"): changed(content, "seed", 1),
            shadow: yaml.safe_dump(CODE),
        }.items():
            path.parent.mkdir(parents=True)
            path.write_text(text)
        asked = ["best=evil", f"hydra.searchpath=[file://{folder}/there]"]
        with pytest.raises(RequestError, check=lambda error: error.key == "scheduler"):
            config.compose(asked)
        GlobalHydra.instance().clear()
        shadow.unlink()
        assert config.to_trial(config.compose(asked)).seed == 1

    def test_workers_read_them_in_the_same_way(self) -> None:
        config.register()
        registry = SourcesRegistry.instance()
        registry.register(FileConfigSource)  # Hydra's own, as where its state is restored
        assert registry.resolve("file") is config_files.FileConfigSource

    def refused(self, text: str, key: str, got: str) -> None:
        path = Path("evil.yaml")
        path.write_text(text)
        with pytest.raises(RequestError) as caught:
            config_files.read(path)
        assert caught.value.key == key
        assert got in caught.value.got
        assert "\n" not in str(caught.value)
        assert not Path("pwned").exists()

    def test_what_cannot_be_read(self, folder: Path) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "x.yaml"):
            config_files.read(Path("x.yaml"))
        Path("x.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(RequestError, check=lambda error: error.key == "x.yaml"):
            config_files.read(Path("x.yaml"))
        with pytest.raises(RequestError, check=lambda error: error.got == "'x.py'"):
            config_files.read(Path("x.py"))


@pytest.mark.parametrize("option", config.options("scheduler"))
def test_what_is_exported_can_be_read(folder: Path, option: str) -> None:
    place = Path("mlruns/multirun/night")
    chosen = f"scheduler={option}"
    stated = collect(config.compose([*TINY, chosen]), ["scheduler"])
    space = parse([f"{key}={text}" for key, text in stated.items()])
    first = {
        key: drawn.choices[0] if isinstance(drawn, CategoricalDistribution) else drawn.low  # type: ignore[attr-defined]
        for key, drawn in space.distributions.items()
    }
    asked = [*TINY, chosen, *space.overrides(first), "scheduler.update=epoch"]
    leave_trial(place, 0, *asked[len(TINY) :], objective=0.7)
    path = Path("conf/best/it.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(recipe.to_yaml(document(place), "it"))
    trained = config.to_trial(config.compose(asked))
    assert recipe.to_trial(config_files.read(path)) == trained
    assert config.to_trial(config.compose(["best=it"])) == trained
