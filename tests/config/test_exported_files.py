"""Exported files of others: what they may not say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab import config
from fmnist_lab.config import config_files
from fmnist_lab.config.config_files import Document
from fmnist_lab.errors import RequestError
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
HOSTILE: list[tuple[str, Any, str]] = [
    ("optimizer", CODE, "optimizer` must not set `_target_`: .* names no code.* got .*'os.system'"),
    ("scheduler._target_", "os.system", "scheduler` must not set `_target_`: .* names no code"),
    ("architecture.activation", {"module": "os", "class_name": "system"}, "a number, a word"),
    ("architecture._args_", ["x"], "names no code"),
    ("hydra.callbacks.x", CODE, "evil.yaml: hydra` must be one of seed, data"),
    ("hydra.searchpath", ["file:///tmp"], "evil.yaml: hydra` must be one of seed, data"),
    ("tracking.uri", "http://127.0.0.1:9", "tracking` must be one of seed, data"),
    ("strategy", "${oc.env:HOME}", "strategy` must be one of seed, data"),
    ("optimizer.beta_1", "${oc.env:HOME}", "a number, a word"),
    ("scheduler.alpha", "${tracking.uri}", "a number, a word"),
    ("seed", "${fmnist_lab.search_path:}", "a number, a word"),
    ("data.path", "/etc", "data` must not set `path`.* no files.*"),
    ("data.dir", "/etc", "data` must not set `dir`.* no folders, got .*'/etc'"),
    ("defaults", [{"override /hydra/launcher": "dask"}], "defaults.0.* must be 'override /data', "),
    ("defaults", ["/scheduler: cosine"], "defaults.0` must be a valid dictionary"),
    ("defaults", [{"override /scheduler": "../../x"}], "scheduler` must match pattern .*'../../x'"),
    ("defaults", [{"override /scheduler": "cosine"}], "choose an option for data, architecture"),
    ("exported/format", 2, "at most 1, as newer files need a newer fmnist-lab, got 2"),
    ("exported/format", "x", "exported.format` must be a valid integer, got 'x'"),
    ("exported/curve", None, "exported.curve` must be there, got nothing"),
    ("exported/data_checksum", None, "exported.data_checksum` must be there"),
    ("exported/trial", "x", "exported.trial` must be a valid integer"),
    ("exported/epochs_trained", 4, "exported.curve` must hold 4 numbers of train/loss, one per e"),
    ("exported/curve/val", [1.0], "exported.curve` must hold train/loss"),
    ("exported/curve/val", {"loss": [1.0]}, "exported.curve.val` must be a valid list"),
    ("exported/curve/val", [float("nan")], "exported.curve.val.0` must be a finite number"),
    ("exported/curve/train/loss", [10**400] * 3, "numbers of at most 64 bits, got one of 1329 bit"),
    ("exported/objective", -(10**400), "numbers of at most 64 bits, got one of 1329 bits"),
    ("exported/replicates", {"count": [{"x": 10**400}]}, "numbers of at most 64 bits, got one"),
    ("seed", 10**400, "numbers of at most 64 bits, got one of 1329 bits"),
    ("exported/environment/threads", 10**9, "threads` must be less than or equal to 1024"),
    ("exported/strategy", "\x1b]0;pwned\x07", "printable text"),
    ("exported", "x", "a file that `fmnist-lab export-best` has written"),
]  # fmt: skip
TEXTS: list[tuple[str, str]] = [
    ("", "a file that `fmnist-lab export-best` has written|keys and values"),
    ("a: [", "must be a file in YAML or JSON"),
    ("a: &x [1]\nb: *x", "must not use aliases"),
    ("a: !!python/object/apply:os.system ['touch pwned']", "plain values, got the tag"),
    ("a: " + "[" * 50 + "]" * 50, "nested deeper"),
    ("seed: 1\nseed: 2", "must be a file in YAML or JSON, got .*duplicate key seed"),
    (f"seed: 0x{'f' * 5000}", "numbers of at most 64 bits, got one of 20000 bits"),
    ("- 1", "a file that `fmnist-lab export-best` has written"),
]  # fmt: skip


class TestHostile:
    """Files of others: `train best=` and `verify` refuse them in one sentence, and run nothing."""

    @pytest.mark.parametrize(("key", "value", "sentence"), HOSTILE)
    def test_what_a_file_may_not_say(
        self, folder: Path, content: Document, key: str, value: Any, sentence: str
    ) -> None:
        self.refused(changed(content, key, value), sentence)

    @pytest.mark.parametrize(("text", "sentence"), TEXTS)
    def test_what_is_no_such_file(self, folder: Path, text: str, sentence: str) -> None:
        self.refused(f"{config_files.HEADER}\n{text}", sentence)

    @pytest.mark.parametrize(
        "header", ["# @package hydra", "# mine", "# @package _global_\n# @package hydra.callbacks"]
    )
    def test_where_a_file_may_not_lie(self, folder: Path, content: Document, header: str) -> None:
        text = changed(content, "seed", 1).replace(config_files.HEADER, header)
        self.refused(text, "must begin with the line '# @package _global_'")

    def test_an_option_of_somebody_elses(self, folder: Path, content: Document) -> None:
        content = copied(content)
        content["defaults"][3] = {"override /scheduler": "evil"}
        evil = Path("elsewhere/scheduler/evil.yaml")
        evil.parent.mkdir(parents=True)
        evil.write_text(yaml.safe_dump(CODE))
        sentence = "`scheduler` must be one of .*, got 'evil'; an option that is not ours has to"
        self.refused(f"{config_files.HEADER}\n{yaml.safe_dump(content)}", sentence)

    @pytest.mark.parametrize(("key", "value", "sentence"), HOSTILE[:7])
    def test_hydra_gets_to_see_none_of_it(
        self, folder: Path, content: Document, key: str, value: Any, sentence: str
    ) -> None:
        path = Path("conf/best/evil.yaml")
        path.parent.mkdir(parents=True)
        path.write_text(changed(content, key, value))
        with pytest.raises(RequestError, match=sentence):
            config.compose(["best=evil"])
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
        with pytest.raises(RequestError, match="`scheduler` must be an option that is installed"):
            config.compose(asked)
        GlobalHydra.instance().clear()
        shadow.unlink()
        assert config.to_trial(config.compose(asked)).seed == 1

    def test_workers_read_them_in_the_same_way(self) -> None:
        config.register()
        registry = SourcesRegistry.instance()
        registry.register(FileConfigSource)  # Hydra's own, as where its state is restored
        assert registry.resolve("file") is config_files.FileConfigSource

    def refused(self, text: str, sentence: str) -> None:
        path = Path("evil.yaml")
        path.write_text(text)
        with pytest.raises(RequestError, match=sentence) as caught:
            config_files.read(path)
        assert "\n" not in str(caught.value)
        assert not Path("pwned").exists()

    def test_what_cannot_be_read(self, folder: Path) -> None:
        with pytest.raises(RequestError, match=r"`x\.yaml` must be a readable text file"):
            config_files.read(Path("x.yaml"))
        Path("x.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(RequestError, match=r"`x\.yaml` must be a readable text file"):
            config_files.read(Path("x.yaml"))
        with pytest.raises(RequestError, match=r"`FILE` must end in \.yaml or \.json"):
            config_files.read(Path("x.py"))
