"""A mistake in a configuration is an error that carries its key and the value received."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config
from fmnist_lab.errors import RequestError
from fmnist_lab.trial import Trial


def trial(*overrides: str) -> Trial:
    return config.to_trial(config.compose(list(overrides)))


class TestRefusals:
    """What Hydra or the schema refuses."""

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("training.epoch=3", ["training.epoch", "'TrainingConfig'"]),
            ("sede=3", ["sede", "'Config'"]),
            ("nothing.at.all=3", ["nothing.at.all"]),
            ("scheduler.decay_rat=3", ["scheduler.decay_rat"]),
            ("scheduler=nope", ["'scheduler/nope'", "cosine_restarts"]),
            ("clipping=by_value", ["'clipping/by_value'", "global_norm"]),
            ("hydra/launcher=nope", ["'hydra/launcher/nope'", "basic"]),
            ("data=", ["'data'", "fashion_mnist", "synthetic"]),
            ("nope=adam", ["nope"]),
            ("scheduler=[1]", []),
            ("clipping=[[none]]", []),
            ("optimizer=null", []),
            ("=3", []),
            ("training.epochs=many", ["training.epochs", "'many'", "Integer"]),
            ("training.epochs=2.5", ["training.epochs", "2.5", "Integer"]),
            ("training.epochs=null", ["training.epochs", "null"]),
            ("seed=[1]", ["seed"]),
            ("clipping.threshold=high", ["clipping.threshold", "'high'", "Float"]),
            ("data.standardize=perhaps", ["data.standardize", "'perhaps'", "bool"]),
            ("objective=null", ["objective"]),
            ("seed=[1,2", ["[1,2"]),
        ],
    )
    def test_is_one_sentence(self, override: str, words: list[str]) -> None:
        with pytest.raises(RequestError) as refused:
            config.compose([override])
        message = str(refused.value)
        assert "\n" not in message
        for word in words:
            assert word in message

    @pytest.mark.parametrize(
        ("override", "word"),
        [
            ("training.epochs=${nope}", "'nope'"),
            ("+foo=1", "`foo`"),
            ("+training.foo=1", "`training.foo`"),
            ("+data.foo=1", "`data.foo`"),
            ("+clipping.foo=1", "`clipping.foo`"),
            ("+scheduler.space.epochs=${nope}", "'nope'"),
        ],
    )
    def test_what_shows_only_when_the_values_are_read(self, override: str, word: str) -> None:
        cfg = config.compose([override])
        with pytest.raises(RequestError) as refused:
            config.to_trial(cfg)
        assert word in str(refused.value)
        assert "\n" not in str(refused.value)


VALUES = [
    ("seed=-1", "seed", "-1"),
    ("seed=4294967296", "seed", "4294967296"),
    ("checkpoint_seconds=-1", "checkpoint_seconds", "-1.0"),
    ("checkpoint_seconds=nan", "checkpoint_seconds", "nan"),
    ("checkpoint_seconds=inf", "checkpoint_seconds", "inf"),
    ("training.epochs=0", "training.epochs", "0"),
    ("training.epochs=100000000", "training.epochs", "100000000"),
    ("training.epochs=-3", "training.epochs", "-3"),
    ("training.batch_size=0", "training.batch_size", "0"),
    ("training.engine=fast", "training.engine", "'fast'"),
    ("training.labels=two_hot", "training.labels", "'two_hot'"),
    ("training.label_smoothing=0.1", "training.label_smoothing", "0.1"),
    ("training.labels=one_hot training.label_smoothing=1.0", "training.label_smoothing", "1.0"),
    ("training.label_smoothing=nan", "training.label_smoothing", "nan"),
    ("data.name=mnist", "data.name", "'mnist'"),
    ("data.split=middle", "data.split", "'middle'"),
    ("data.split_seed=-1", "data.split_seed", "-1"),
    ("data.val_size=0", "data.val_size", "0"),
    ("data.val_size=60000", "data.val_size", "60000"),
    ("data.train_size=0", "data.train_size", "0"),
    ("data.train_size=55001", "data.train_size", "55001"),
    ("clipping.threshold=1", "clipping.threshold", "1.0"),
    ("clipping=norm clipping.threshold=0", "clipping.threshold", "0.0"),
    ("clipping=norm clipping.threshold=-1", "clipping.threshold", "-1.0"),
    ("clipping=value clipping.threshold=nan", "clipping.threshold", "nan"),
    ("clipping=global_norm clipping.threshold=inf", "clipping.threshold", "inf"),
    ("clipping=norm clipping.threshold=null", "clipping.threshold", "None"),
    ("clipping.name=by_norm", "clipping.name", "'by_norm'"),
    ("optimizer.learning_rate=0", "optimizer.learning_rate", "0"),
    ("optimizer.learning_rate=-0.1", "optimizer.learning_rate", "-0.1"),
    ("optimizer.learning_rate=nan", "optimizer.learning_rate", "nan"),
    ("optimizer.learning_rate=inf", "optimizer.learning_rate", "inf"),
    ("optimizer.learning_rate=null", "optimizer.learning_rate", "None"),
    ("optimizer.learning_rate=hi", "optimizer.learning_rate", "'hi'"),
    ("optimizer.learning_rate=true", "optimizer.learning_rate", "True"),
    ("optimizer=sgd optimizer.momentum=x", "optimizer.momentum", "'x'"),
    ("stopping.name=never", "stopping.name", "'never'"),
    ("stopping.monitor=loss", "stopping.monitor", "'loss'"),
    ("stopping.mode=best", "stopping.mode", "'best'"),
    ("stopping.patience=-1", "stopping.patience", "-1"),
    ("stopping.min_delta=-0.1", "stopping.min_delta", "-0.1"),
    ("stopping.restore_best=true", "stopping.restore_best", "True"),
    ("stopping.start_from_epoch=-1", "stopping.start_from_epoch", "-1"),
    ("objective.metric=loss", "objective.metric", "'loss'"),
    ("objective.metric=train/loss", "objective.metric", "'train/loss'"),
    ("scheduler.update=batch", "scheduler.update", "'batch'"),
    ("scheduler.warmup_epochs=-1", "scheduler.warmup_epochs", "-1"),
    ("scheduler.warmup_epochs=20", "scheduler.warmup_epochs", "20"),
    ("scheduler.epochs=0", "scheduler.epochs", "0"),
    ("scheduler=linear scheduler.epochs=null", "scheduler.epochs", "None"),
    ("scheduler=performance scheduler.factor=1.0", "scheduler.factor", "1.0"),
    ("scheduler=performance scheduler.factor=0", "scheduler.factor", "0"),
    ("scheduler=performance scheduler.patience=1.5", "scheduler.patience", "1.5"),
    ("scheduler=performance scheduler.monitor=opt/grad_norm", "scheduler.mode", "'auto'"),
    (
        "scheduler=performance scheduler.monitor=opt/grad_norm scheduler.mode=min",
        "scheduler.monitor",
        "'opt/grad_norm'",
    ),
    ("scheduler=performance scheduler.monitor=null", "scheduler.mode", "'auto'"),
    ("scheduler=piecewise scheduler.boundaries=[9,5]", "scheduler.boundaries", "[9, 5]"),
    ("scheduler=piecewise scheduler.boundaries=[]", "scheduler.boundaries", "[]"),
    ("scheduler=piecewise scheduler.boundaries=5", "scheduler.boundaries", "5"),
    ("scheduler=piecewise scheduler.factors=null", "scheduler.factors", "None"),
    ("scheduler=piecewise scheduler.factors=[1,2]", "scheduler.factors", "[1, 2]"),
    ("scheduler=exponential scheduler.decay_epochs=0", "scheduler.decay_epochs", "0"),
    ("scheduler=exponential scheduler.decay_rate=nan", "scheduler.decay_rate", "nan"),
    ("scheduler=cosine scheduler.alpha=1.5", "scheduler.alpha", "1.5"),
    ("scheduler=cosine_restarts scheduler.cycles=0", "scheduler.cycles", "0"),
    ("scheduler=cosine_restarts scheduler.cycles=1001", "scheduler.cycles", "1001"),
    (
        "scheduler=cosine_restarts scheduler.cycles=null scheduler.first_decay_epochs=1e-9",
        "scheduler.first_decay_epochs",
        "1e-09",
    ),
    ("scheduler=cosine_restarts scheduler.cycles=null", "scheduler.cycles", "None and None"),
    ("scheduler._target_=null", "scheduler._target_", "None"),
    ("scheduler._target_=fmnist_lab.nope.f", "scheduler._target_", "'fmnist_lab.nope.f'"),
    ("+scheduler.typo=1", "scheduler.typo", "1"),
    ("~scheduler.initial_learning_rate", "scheduler.initial_learning_rate", "nothing"),
]


class TestValidate:
    """Values that no engine could train."""

    @pytest.mark.parametrize(("overrides", "key", "got"), VALUES)
    def test_is_refused(self, overrides: str, key: str, got: str) -> None:
        with pytest.raises(RequestError) as refused:
            trial(*overrides.split())
        assert (refused.value.key, refused.value.got) == (key, got)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        "overrides",
        [
            "seed=0",
            "seed=4294967295",
            "data.val_size=59999 data.train_size=1",
            "training.labels=one_hot training.label_smoothing=0.999",
            "training.epochs=1 training.batch_size=1",
            "scheduler.warmup_epochs=19.5",
            "scheduler=performance scheduler.patience=0",
            "clipping=norm clipping.threshold=1e-30",
            "stopping=patience stopping.patience=0",
        ],
    )
    def test_the_edge_of_what_is_allowed(self, overrides: str) -> None:
        assert isinstance(trial(*overrides.split()), Trial)

    @pytest.mark.parametrize(
        ("overrides", "key", "got"),
        [
            ("tracking=server", "tracking.uri", "none"),
            *(
                (f"tracking.uri='{uri}'", "tracking.uri", repr(uri))
                for uri in (
                    "nonsense",
                    "./x",
                    "file:///x",
                    "ftp://host/x",
                    "http://",
                    "sqlite:x",
                    "http://host:port",
                    "http://[x",
                    "azureml://x",
                    " ",
                    "http://ho st",
                    " sqlite:///x",
                    "http://h\n",
                )
            ),
            ("tracking.uri='http://me:s3 cret@h'", "tracking.uri", "'http://me:***@h'"),
            ("tracking.uri=ftp://me:s3cret@x", "tracking.uri", "'ftp://me:***@x'"),
            ("tracking.name=cloud", "tracking.name", "'cloud'"),
            ("tracking.experiment=' '", "tracking.experiment", "' '"),
        ],
    )
    def test_tracking(
        self, overrides: str, key: str, got: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(RequestError) as refused:
            config.to_tracking(config.compose([overrides]))
        assert (refused.value.key, refused.value.got) == (key, got)

    @pytest.mark.parametrize(
        "uri",
        ["http://lab", "HTTPS://u:p@lab:1/x", "databricks", "databricks://profile", "sqlite:///x",
         "postgresql://u@h/d", "mysql+pymysql://h/d", "mssql+pyodbc://h/d"],
    )  # fmt: skip
    def test_where_mlflow_can_record(self, uri: str) -> None:
        assert config.to_tracking(config.compose([f"tracking.uri='{uri}'"])).uri == uri

    def test_what_mlflow_is_told_to_allow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        assert config.to_tracking(config.compose(["tracking.uri=./x"])).uri == "./x"
        monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
        assert config.to_tracking(config.compose(["tracking=none", "tracking.uri=./x"])).uri

    def test_a_servers_address_may_come_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
        assert config.to_tracking(config.compose(["tracking=server"])).uri == "http://lab:5000"


@pytest.fixture(scope="module")
def composed() -> dict[str, DictConfig]:
    """Every scheduler's configuration, its keys still open to updates."""
    return {name: config.compose([f"scheduler={name}"]) for name in config.options("scheduler")}


MAYBE = ("threshold", "first_decay_epochs", "pct_start", "decay")


def numeric_keys(cfg: DictConfig) -> list[str]:
    """The dotted keys that hold a number, or null where a number may stand."""
    keys = ["seed"]
    groups = ("data", "augmentation", "optimizer", "scheduler", "clipping", "averaging", "stopping",
              "training")  # fmt: skip
    for group in groups:
        for key, value in cfg[group].items():
            if isinstance(value, int | float) or key in MAYBE:
                keys.append(f"{group}.{key}")
    return keys


NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.integers(-2, 30),
    st.floats(),
    st.floats(-2, 30),
)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
def test_any_number_gives_a_trial_or_a_sentence(
    composed: dict[str, DictConfig], data: st.DataObject
) -> None:
    cfg = composed[data.draw(st.sampled_from(sorted(composed)))].copy()
    keys = st.sampled_from(numeric_keys(cfg))
    changes = data.draw(st.dictionaries(keys, NUMBERS, min_size=1, max_size=3))
    try:
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value)
    except OmegaConfBaseException:  # the schema has refused it; `compose` says so in a sentence
        return
    answer: Trial | str
    try:
        with np.errstate(over="ignore"):  # a rate above 3e38 is infinite in single precision
            answer = config.to_trial(cfg)
    except RequestError as refused:
        answer = str(refused)
    if isinstance(answer, Trial):
        assert 0 < answer.optimizer["learning_rate"] < math.inf
        assert answer.training.epochs > 0
    else:
        assert " must " in answer
        assert "\n" not in answer
