"""The Python API as a whole: what importing it costs, what it offers, and the README's block."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import SMALL, Passes, coloured, here, passes, pets
from click.testing import CliRunner
from extract_samples import printed_by_python
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import headstart as hs
from headstart.core import cli

__all__ = ["here", "passes"]


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "numpy", "h5py", "sklearn", "PIL", "scipy", "matplotlib", "pandas", "click", "rich")
    code = f"import sys, headstart; print([name for name in {heavy!r} if name in sys.modules])"
    assert printed_by_python(code) == "[]\n"


def test_its_errors_and_its_observer_import_no_torch() -> None:
    code = "import sys, headstart as hs; hs.HeadstartError, hs.Observer; print('torch' in sys.modules)"
    assert printed_by_python(code) == "False\n"


def test_a_backbone_knows_its_facts_without_torch() -> None:
    code = (
        "import sys, headstart as hs; b = hs.Backbone('resnet18', weights='random:0', device='cpu');"
        "print(b.dim, len(b.digest), 'torch' in sys.modules)"
    )
    assert printed_by_python(code) == "512 64 False\n"


def test_all_names_are_there_and_dir_shows_them() -> None:
    assert sorted(hs.__all__) == list(hs.__all__)
    assert set(hs.__all__) <= set(dir(hs))
    assert all(getattr(hs, name) is not None for name in hs.__all__)
    assert hs.extract.__module__ == "headstart.api.features"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'extrakt'"):
        hs.extrakt  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", hs.__all__)
def test_everything_says_what_it_does(name: str) -> None:
    found = getattr(hs, name)
    assert inspect.getdoc(found)
    members = inspect.getmembers(found, callable) if inspect.isclass(found) else []
    own = [member for member in members if not member[0].startswith("_") and name not in ("HeadstartError", "Run")]
    # scikit-learn adds the requests of its metadata routing, with docstrings of its own
    assert [member for member, value in own if not inspect.getdoc(value)] == []


@pytest.mark.parametrize("name", ["Backbone", "Classifier", "Features", "Head", "extract", "load", "open", "train"])
def test_everything_shows_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(hs, name)) or "")


def test_what_is_named_as_an_option_has_its_default() -> None:
    pairs = ((hs.extract, "extract"), (hs.train, "train-head"), (hs.load, "predict"))
    for function, command in pairs:
        options = {param.name: param for param in cli.cli.commands[command].params}
        for name, parameter in inspect.signature(function).parameters.items():
            if name in options and name not in ("weights", "features_dir", "runs_dir", "data_dir"):
                assert parameter.default in (options[name].default, None, False), name


def test_the_block_of_the_readme_runs_on_a_folder(here: Path, passes: Passes) -> None:
    pets(here / "pets")
    features = hs.extract("folder:pets", model="resnet18", **SMALL)
    assert (features.X.shape, features.X.dtype, features.y.shape) == ((24, 512), np.float32, (24,))
    assert (features.classes, len(features.train), len(features.test)) == (("blue", "green", "red"), 19, 5)
    head = hs.train(features, head="mlp", seed=0)
    assert head.run is not None
    assert head.run.evaluation.overall.total == 24
    new = [here / "pets/red/0.png", coloured("green", 70), np.asarray(coloured("blue", 71))]
    expected = head.predict_proba(new)
    assert expected.shape == (3, 3)
    head.save("runs/pets")
    head = hs.load("runs/pets")
    assert np.array_equal(head.predict_proba(new), expected)
    assert head.predict(new).tolist() == ["red", "green", "blue"]
    assert head.score(new, ["red", "green", "blue"]) == 1.0

    backbone = hs.Backbone("resnet18", **SMALL)
    files = sorted((here / "pets").rglob("*.png"))
    labels = [file.parent.name for file in files]
    model = make_pipeline(backbone, LogisticRegression(max_iter=1000)).fit(files, labels)
    assert model.predict([files[0], files[-1]]).tolist() == ["blue", "red"]
    assert (backbone.dim, len(backbone.digest), backbone.transform_spec.image_size) == (512, 64, 32)

    X, y = features.train.X, np.array(features.classes)[features.train.y]  # noqa: N806
    assert hs.Head("mlp").fit(X, y).predict_proba(X).shape == (19, 3)
    assert np.array_equal(hs.open(features.folders[0]).X, features.X)


def test_the_block_of_the_readme_runs_on_digits(here: Path) -> None:
    features = hs.extract("digits", model="resnet18", limit=60, **SMALL)
    assert (features.X.shape, len(features.train), len(features.test)) == ((120, 512), 60, 60)
    head = hs.train(features, head="linear", seed=1)
    assert head.predict(features.test).shape == (60,)
    assert head.run is not None
    assert head.score(features.test) == head.run.evaluation.overall.accuracy
    assert not (here / "runs").exists()  # nothing is saved before it is asked for


def test_a_curve_is_in_the_record_of_a_head_that_was_trained_with_one(here: Path) -> None:
    features = hs.extract(pets(here / "pets", 4), model="resnet18", **SMALL)
    head = hs.train(features, head="ridge", curve=True)
    assert head.run is not None
    assert head.run.curve is not None
    assert [point.rows for point in head.run.curve.points] == [4, 9]
    head.save(here / "head")
    assert (loaded := hs.load(here / "head").run) is not None
    assert loaded.curve == head.run.curve


def test_the_command_line_uses_what_the_api_saved(here: Path) -> None:
    pets(here / "pets")
    head = hs.train(hs.extract("folder:pets", model="resnet18", **SMALL))
    head.save("runs/pets")
    files = [str(file) for file in sorted((here / "pets").rglob("1.png"))]
    words = ["predict", *files, "--head", "runs/pets", "--topk", "3", "--json", "--device", "cpu"]
    result = CliRunner().invoke(cli.cli, words)
    assert result.exit_code == 0, result.output
    answers: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    for answer, shares in zip(answers, head.predict_proba(files), strict=True):
        assert dict(answer["labels"]["pets"]) == {
            name: pytest.approx(float(share), abs=1e-6) for name, share in zip(head.classes, shares, strict=True)
        }
