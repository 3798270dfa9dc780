"""Every option composes to a trial; every mistake is answered in one sentence."""

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_lab import config, schedules
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation import instantiate
from fmnist_lab.training.engines import building
from fmnist_lab.trial import ClippingConfig, Trial

CONF = Path(config.config_dir())
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
OPTIONS = [
    (group, str(path.relative_to(CONF / group).with_suffix("")))
    for group in GROUPS
    for path in sorted((CONF / group).rglob("*.yaml"))
]
UPDATES = 1719  # per epoch: 55,000 images in batches of 32
SHARED_SCHEDULER_KEYS = {"epochs", "update", "warmup_epochs"}


def trial(*overrides: str) -> Trial:
    return config.to_trial(config.compose(list(overrides)))


class TestOptions:
    """The files in `conf/`."""

    def test_all_groups_of_the_design_have_options(self) -> None:
        named = {group: config.options(group) for group in GROUPS}
        assert {"architecture", "optimizer", "scheduler", "recipe"} < named.keys()
        assert named["clipping"] == ["global_norm", "none", "norm", "value"]
        assert named["augmentation"] == ["none", "shift_flip"]
        assert named["averaging"] == ["ema", "none", "schedule_free", "swa"]
        assert named["stopping"] == ["none", "patience"]
        assert named["tracking"] == ["local", "none", "server"]
        assert named["data"] == ["fashion_mnist", "images", "synthetic"]

    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    def test_composes_to_a_valid_trial(self, group: str, option: str) -> None:
        extra = ["tracking.uri=http://127.0.0.1:5000"] if option == "server" else []
        cfg = config.compose([f"{group}={option}", *extra])
        assert isinstance(config.to_trial(cfg), Trial)
        assert isinstance(config.to_tracking(cfg), config.TrackingConfig)
        if group in ("augmentation", "averaging", "data", "clipping", "stopping", "tracking"):
            assert cfg[group].name == option

    @pytest.mark.parametrize(("group", "option"), OPTIONS)
    def test_says_first_when_to_choose_it(self, group: str, option: str) -> None:
        lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
        first = lines[1] if lines[0].startswith("# @package") else lines[0]
        assert first.startswith("# Choose ")

    @pytest.mark.parametrize("option", config.options("architecture"))
    def test_an_architecture_lists_every_argument_and_its_default(self, option: str) -> None:
        node = trial(f"architecture={option}").architecture
        parameters = inspect.signature(instantiate.locate("architecture", node)).parameters
        listed = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in node.items()
            if key != "_target_"
        }
        wanted = {name: parameter.default for name, parameter in parameters.items()}
        for name in ("image_shape", "classes"):  # from the data
            del wanted[name]
        assert listed == wanted

    @pytest.mark.parametrize("option", config.options("scheduler"))
    def test_a_scheduler_lists_every_argument(self, option: str) -> None:
        node = trial(f"scheduler={option}").scheduler
        parameters = inspect.signature(instantiate.locate("scheduler", node)).parameters
        assert node.keys() - {"_target_"} == set(parameters) | SHARED_SCHEDULER_KEYS

    @pytest.mark.slow
    @pytest.mark.parametrize("option", config.options("optimizer"))
    def test_an_optimizer_can_be_built(self, option: str) -> None:
        chosen = trial(f"optimizer={option}")
        optimizer = building.build_optimizer(chosen)
        for key, value in chosen.optimizer.items():
            if key != "_target_":
                assert optimizer.get_config()[key] == pytest.approx(value)

    def test_defaults_equal_the_schema(self) -> None:
        composed, schema = trial(), Trial()
        closed = ("seed", "data", "augmentation", "clipping", "averaging", "stopping", "training",
                  "objective")  # fmt: skip
        for key in closed:
            assert getattr(composed, key) == getattr(schema, key), key
        assert config.to_tracking(config.compose([])) == config.TrackingConfig()

    def test_the_command_line_wins_over_a_recipe(self) -> None:
        mixed = trial("recipe=notebook", "optimizer=sgd", "training.epochs=3")
        assert mixed.optimizer["_target_"] == "keras.optimizers.SGD"
        assert mixed.training.epochs == 3
        assert mixed.stopping.name == "patience"

    def test_schedules_follow_the_optimizer_and_the_length(self) -> None:
        composed = trial("scheduler=linear", "optimizer.learning_rate=0.5", "training.epochs=4")
        rates = schedules.build(composed.scheduler).learning_rates(2, steps=1)
        assert rates.tolist() == [0.25]


class TestNotebook:
    """The recipes of the notebook's variants, against the numbers and formulas in it."""

    @pytest.mark.parametrize(
        ("recipe", "optimizer", "clipping"),
        [
            ("notebook", "Adam", ClippingConfig()),
            ("notebook_exponential", "Adam", ClippingConfig()),
            ("notebook_piecewise", "Adam", ClippingConfig()),
            ("notebook_performance", "Adam", ClippingConfig()),
            ("notebook_exponential_step", "SGD", ClippingConfig()),
            ("notebook_clipping", "SGD", ClippingConfig("value", 1.0)),
        ],
    )
    def test_the_choices(self, recipe: str, optimizer: str, clipping: ClippingConfig) -> None:
        chosen = trial(f"recipe={recipe}")
        assert chosen.architecture["_target_"] == "fmnist_lab.architectures.notebook"
        assert chosen.optimizer["_target_"] == f"keras.optimizers.{optimizer}"
        assert chosen.optimizer["learning_rate"] == 0.01
        assert chosen.clipping == clipping
        assert (chosen.training.epochs, chosen.training.batch_size) == (200, 32)
        assert (chosen.stopping.name, chosen.stopping.patience) == ("patience", 5)
        assert not chosen.stopping.restore_best

    @pytest.mark.parametrize(
        ("recipe", "formula"),
        [
            ("notebook", lambda epoch: 0.01 * 0.1 * (epoch / 20)),
            ("notebook_exponential", lambda epoch: 0.01 * 0.1 ** (epoch / 20)),
            (
                "notebook_piecewise",
                lambda epoch: 0.01 if epoch < 5 else 0.005 if epoch < 15 else 0.001,
            ),
            ("notebook_clipping", lambda epoch: 0.01),
        ],
    )
    def test_the_rate_of_each_epoch(self, recipe: str, formula: Callable[[int], float]) -> None:
        scheduler = schedules.build(trial(f"recipe={recipe}").scheduler)
        for epoch in range(25):
            rates = scheduler.learning_rates(epoch, UPDATES)
            assert rates == pytest.approx(np.full(UPDATES, formula(epoch)), rel=1e-6)

    def test_the_second_epoch_as_it_was_written(self) -> None:
        scheduler = schedules.build(trial("recipe=notebook").scheduler)
        assert scheduler.learning_rates(0, 1).tolist() == [0]
        assert scheduler.learning_rates(1, 1) == pytest.approx([5e-5])

    def test_half_the_rate_after_five_epochs_without_improvement(self) -> None:
        scheduler = schedules.build(trial("recipe=notebook_performance").scheduler)
        rates = []
        for epoch in range(12):
            rates.append(float(scheduler.learning_rates(epoch, UPDATES)[-1]))
            scheduler.observe(epoch, {"val/loss": 0.3})  # the first is an improvement
        assert rates == pytest.approx([0.01] * 6 + [0.005] * 5 + [0.0025])

    def test_ten_updates_for_a_tenth_of_the_rate(self) -> None:
        scheduler = schedules.build(trial("recipe=notebook_exponential_step").scheduler)
        rates = scheduler.learning_rates(0, UPDATES)
        expected = [0.01 * 0.1 ** (update / 10) for update in range(30)]
        assert rates[:30] == pytest.approx(np.array(expected), rel=1e-6)
        assert rates[20] == pytest.approx(0.01 / 100)


class TestSpaces:
    """A node's search space belongs to the configuration, not to the trial."""

    @pytest.mark.parametrize("group", ["architecture", "optimizer", "scheduler", "clipping"])
    def test_no_trial_has_one(self, group: str) -> None:
        option = {"architecture": "mlp", "scheduler": "wsd", "clipping": "norm"}.get(group, "adam")
        cfg = config.compose([f"{group}={option}"])
        assert cfg[group].space
        assert "space" not in config.to_trial(cfg).as_dict()[group]

    def test_a_trials_clipping_is_plain(self) -> None:
        assert trial("clipping=norm").clipping == ClippingConfig("norm", 1.0)

    @pytest.mark.parametrize(
        "override",
        [
            "+scheduler.space.decay_rate='interval(0.1,1)'",
            "scheduler.space.decay_epochs='interval(1,2)'",
            "~scheduler.space.decay_epochs",
            "~scheduler.space",
            "+clipping.space.threshold='interval(1,2)'",
            "+optimizer.space.momentum=0.5",
        ],
    )
    def test_overriding_one_changes_no_trial(self, override: str) -> None:
        assert trial("scheduler=exponential", override) == trial("scheduler=exponential")

    def test_a_key_inside_one_is_not_dropped(self) -> None:
        nested = trial("+architecture.mine={space: 3}")
        assert nested.architecture["mine"] == {"space": 3}

    @pytest.mark.parametrize(
        ("epochs", "share", "expected"),
        [(3, "0.1", 0.3), (20, "5", 100), (4, "0.25,2", 2), (100, "0.25,2", 25)],
    )
    def test_a_share_of_the_training_in_epochs(
        self, epochs: int, share: str, expected: float
    ) -> None:
        override = f"+scheduler.space.epochs=${{fmnist_lab.epochs:{share}}}"
        cfg = config.compose([f"training.epochs={epochs}", override])
        assert cfg.scheduler.space.epochs == expected


OWN_CODE = """
import numpy as np
from keras import Input, Sequential, layers

def halving(initial_learning_rate, every):
    return lambda epoch: initial_learning_rate * 0.5 ** (np.asarray(epoch) // every)

def one_layer(units):
    return Sequential([Input((28, 28)), layers.Flatten(), layers.Dense(units, "softmax")])
"""


class TestOwnConf:
    """A `./conf` in the folder where the command runs extends ours."""

    @pytest.fixture(autouse=True)
    def own(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for group in ("scheduler", "architecture"):
            (folder / "conf" / group).mkdir(parents=True)
        (folder / "own_code.py").write_text(OWN_CODE)
        (folder / "conf/scheduler/mine.yaml").write_text(
            "_target_: own_code.halving\n"
            "initial_learning_rate: ${optimizer.learning_rate}\nevery: 2\nupdate: epoch\n"
        )
        (folder / "conf/architecture/mine.yaml").write_text(
            "_target_: own_code.one_layer\nunits: 10\n"
        )
        monkeypatch.syspath_prepend(folder)  # as the command line does

    def test_its_options_are_listed_and_chosen(self) -> None:
        assert {"mine", "constant"} <= set(config.options("scheduler"))
        chosen = trial("scheduler=mine", "architecture=mine", "optimizer.learning_rate=1")
        scheduler = schedules.build(chosen.scheduler)
        rates = [scheduler.learning_rates(epoch, 1)[0] for epoch in range(5)]
        assert rates == [1, 1, 0.5, 0.5, 0.25]
        assert building.build_model(chosen).count_params() == 7850

    def test_what_an_option_says_now_is_composed(self, folder: Path) -> None:
        """Though every file is parsed once."""
        path = folder / "conf/scheduler/mine.yaml"
        assert trial("scheduler=mine").scheduler["every"] == 2
        path.write_text(path.read_text().replace("every: 2", "every: 3"))
        assert trial("scheduler=mine").scheduler["every"] == 3
        path.write_text("[")
        with pytest.raises(RequestError, match=r"mine\.yaml"):
            trial("scheduler=mine")
        path.unlink()
        with pytest.raises(RequestError, match="scheduler"):
            trial("scheduler=mine")

    def test_a_composition_changes_none_that_follows(self) -> None:
        once = config.compose(["scheduler=mine"])
        config.compose(["scheduler=mine", "scheduler.every=7", "~scheduler.update"])
        assert config.compose(["scheduler=mine"]) == once

    def test_ours_are_still_there(self) -> None:
        assert trial("scheduler=cosine").scheduler["_target_"] == "fmnist_lab.schedules.cosine"

    def test_a_misspelt_key_names_what_is_allowed(self) -> None:
        with pytest.raises(RequestError) as refused:
            trial("scheduler=mine", "+scheduler.evry=3")
        assert refused.value.key == "scheduler.evry"
        assert "every" in refused.value.hint.split(": ")[1].split(", ")

    def test_an_unknown_option_lists_it(self) -> None:
        with pytest.raises(RequestError, match=r"'scheduler'.*\bmine\b"):
            trial("scheduler=minne")


def test_a_password_in_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://me:s3cret@host"
    stated = config.compose(["tracking=server", f"tracking.uri='{uri}'"])
    with pytest.raises(RequestError) as refused:
        config.refuse_password(stated)
    assert refused.value.key == "tracking.uri"
    assert "s3cret" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    config.refuse_password(config.compose(["tracking=server"]))
    inside = "tracking.uri='http://me:${oc.env:P}@host'"
    config.refuse_password(config.compose(["tracking=server", inside]))
