"""The recipes, and what a training takes from its user: an option without effect, or a number that is none, is refused."""

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner
from heads_samples import blobs, make_config, write_pair

from headstart.core import cli
from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import (
    HEADS,
    RECIPES,
    STUDY_STANDARD,
    BenchConfig,
    HeadName,
    TrainConfig,
    changed,
    grid,
    refusal,
    uses,
)
from headstart.core.heads.kinds import kind as kind_of


def test_every_head_says_which_fields_it_uses() -> None:
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert all(uses(name) <= fields for name in HEADS)


@pytest.mark.parametrize("kind", HEADS)
def test_fields_that_are_used_change_the_head_and_others_are_refused(kind: HeadName) -> None:
    for field in kind_of("mlp").uses:
        reason = refusal(make_config(kind), [field])
        assert (reason is None) == (field in uses(kind))


@pytest.mark.parametrize(
    ("rows", "config", "steps"),
    [
        (24_000, RECIPES["study"], 1875),
        (24_000, STUDY_STANDARD, 1700),
        (24_000, dataclasses.replace(RECIPES["standard"], head="mlp"), 1700),
        (62, dataclasses.replace(RECIPES["standard"], head="mlp"), 400),
        (300, dataclasses.replace(RECIPES["standard"], head="linear"), 400),
        (65, dataclasses.replace(RECIPES["study"], epochs=1), 2),
        (3, dataclasses.replace(STUDY_STANDARD, epochs=4), 4),
        (100, dataclasses.replace(RECIPES["standard"], head="ridge"), 0),
    ],
)
def test_steps_are_the_batches_of_all_epochs(rows: int, config: TrainConfig, steps: int) -> None:
    assert config.steps(rows) == steps


def test_a_number_of_epochs_that_is_given_is_trained() -> None:
    assert changed("standard", {"head": "mlp", "epochs": 3}).steps(62) == 3
    assert changed("standard", {"head": "mlp"}).epochs_of(62) == 400


def test_fewer_than_a_hundred_rows_choose_no_epoch() -> None:
    config = dataclasses.replace(RECIPES["standard"], head="mlp")
    assert [config.held(rows) for rows in (62, 989, 1_000, 24_000)] == [0, 0, 100, 2_400]
    assert STUDY_STANDARD.held(62) == 6


def test_auto_takes_no_setting_that_it_chooses() -> None:
    for name in ("epochs", "penalty", "neighbours", "hidden", "lr"):
        reason = refusal(RECIPES["standard"], [name])
        assert reason is not None
        assert f"--{name}: --head auto tries heads with settings of its own; leave it out, or use --head " in reason


def test_auto_is_not_of_the_study() -> None:
    reason = refusal(dataclasses.replace(RECIPES["study"], head="auto"), [])
    assert reason is not None
    assert "leave --recipe study out, or name a head" in reason


@pytest.mark.parametrize(("seeds", "sweep", "other"), [(5, False, "--seeds 5"), (1, True, "--sweep"), (5, True, "--sweep")])
def test_a_curve_is_of_one_head_with_given_settings(seeds: int, sweep: bool, other: str) -> None:
    config = dataclasses.replace(RECIPES["standard"], head="mlp")
    reason = refusal(config, [], seeds=seeds, sweep=sweep, curve=True)
    assert reason == (
        f"--curve: it is measured of one head with given settings, and {other} trains several; leave one of the two out"
    )
    assert refusal(config, [], curve=True) is None


def test_a_record_from_before_says_that_a_fifth_was_held_out() -> None:
    old = RECIPES["study"].to_json()
    del old["test_fraction"]
    assert TrainConfig.from_json(old) == RECIPES["study"]


def test_a_grid_of_a_head_without_epochs_is_refused() -> None:
    with pytest.raises(
        FeaturesInvalid, match="--sweep: a ridge head has no learning rate to try; use --head mlp or linear"
    ):
        grid(make_config("ridge"))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A features directory with a pair of sets."""
    root = tmp_path_factory.mktemp("features")
    write_pair(root, blobs(60), blobs(30, seed=1))
    return root


def run(features: Path, runs: Path, words: str) -> tuple[int, str]:
    """The exit code and what stands on stderr."""
    arguments = ["train-head", "--features-dir", str(features), "--runs-dir", str(runs), *words.split()]
    result = CliRunner().invoke(cli.cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--head knn --epochs 5", "--epochs: a knn head has none; leave it out, or use --head mlp or linear"),
        ("--head linear --hidden 3", "--hidden: a linear head has none; leave it out, or use --head mlp"),
        ("--head linear --dropout 0.9", "--dropout: a linear head has none"),
        ("--head ridge --lr 9", "--lr: a ridge head has none"),
        ("--head ridge -b 8", "--batch-size: a ridge head has none"),
        ("--head knn --val-fraction 0.5", "--val-fraction: a knn head has none"),
        ("--head ridge --seeds 3", "--seeds 3: a ridge head is the same for every seed; leave it out"),
        ("--head knn --seed 3", "--seed: a knn head is the same for every seed; leave it out"),
        ("--head ridge --sweep", "--sweep: a ridge head has no learning rate to try; use --head mlp or linear"),
        ("--sweep", "--sweep: --head auto has no learning rate to try; use --head mlp or linear"),
        (
            "--epochs 5",
            "--epochs: --head auto tries heads with settings of its own; leave it out, or use --head mlp or linear",
        ),
        ("--recipe study --head auto", "--head auto chooses among heads of the standard recipe"),
        ("--head mlp --sweep --lr 0.05", "--lr: --sweep tries values of its own; leave one of the two out"),
        ("--head mlp --sweep --weight-decay 0.5", "--weight-decay: --sweep tries values of its own"),
        ("--lr nan", "nan is not a finite number"),
        ("--lr inf", "inf is not a finite number"),
        ("--val-fraction nan", "nan is not a finite number"),
        ("--dropout nan", "nan is not a finite number"),
        ("--weight-decay nan", "nan is not a finite number"),
        ("--weight-decay 1e999", "1e999 is not a finite number"),
        ("--seed 18446744073709551616", "18446744073709551616 is not in the range 0<=x<=9223372036854775807"),
        ("--seed -1", "-1 is not in the range"),
        ("--seeds 1000000000", "1000000000 is not in the range 1<=x<=10000"),
    ],
)
def test_options_without_effect_and_numbers_that_are_none_are_usage_errors(
    words: str, message: str, features: Path, tmp_path: Path
) -> None:
    code, said = run(features, tmp_path / "runs", words)
    assert (code, message in said) == (2, True), said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--head mlp --seed 9223372036854775807 --seeds 2 --epochs 1",
        "--head mlp -b 100000000 --epochs 1",
        "--head knn --seeds 1",
        "--head mlp --sweep --epochs 1",
    ],
)
def test_large_numbers_that_mean_something_are_taken(words: str, features: Path, tmp_path: Path) -> None:
    assert run(features, tmp_path / "runs", words)[0] == 0


@pytest.mark.parametrize("hidden", [10**9, 10**12, 2**62])
def test_a_head_without_room_is_one_line_and_leaves_nothing_behind(hidden: int, features: Path, tmp_path: Path) -> None:
    code, said = run(features, tmp_path / "runs", f"--head mlp --hidden {hidden}")
    assert code == 1
    assert f"headstart: 1 mlp head of 6 features and 3 classes, --hidden {hidden}, --batch-size 256: no room (" in said
    assert not (tmp_path / "runs").exists()


def test_the_study_recipe_is_the_published_protocol() -> None:
    assert RECIPES["study"] == TrainConfig(
        recipe="study",
        head="mlp",
        epochs=5,
        lr=1e-3,
        batch_size=64,
        hidden=128,
        dropout=0.2,
        weight_decay=0.0,
        val_fraction=0.0,
        cosine=False,
        standardise=False,
        sigmoid=True,
        train_limit=None,
        test_fraction=0.2,
    )


def test_the_standard_recipe_has_no_sigmoid_and_chooses_its_epoch_on_validation_rows() -> None:
    standard = RECIPES["standard"]
    assert not standard.sigmoid
    assert 0 < standard.val_fraction < 0.5
    assert standard.standardise


def test_each_recipe_carries_its_own_name() -> None:
    assert {name: recipe.recipe for name, recipe in RECIPES.items()} == {"study": "study", "standard": "standard"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_read_back_from_json_is_the_same(recipe: str) -> None:
    assert TrainConfig.from_json(RECIPES[recipe].to_json()) == RECIPES[recipe]


def test_an_unknown_field_of_a_recipe_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="momentum"):
        TrainConfig.from_json({**RECIPES["study"].to_json(), "momentum": 0.9})


def test_inference_is_warmed_up_before_it_is_timed() -> None:
    assert BenchConfig().warmup >= 1
