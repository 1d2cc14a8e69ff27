"""What a new user met on the command line: choices that are told apart, one word for a state, names as they are printed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from api_samples import coloured
from cli_samples import Place
from extract_samples import encoded

RANDOM = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")
LINEAR = ("train-head", "-m", "resnet18", "--head", "ridge", "--penalty", "1")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder of splits, extracted with them and without."""
    here = Place(tmp_path_factory.mktemp("both"))
    for split in ("train", "test"):
        for name in ("green", "red"):
            (here.root / "pets" / split / name).mkdir(parents=True)
            for seed in range(6):
                path = here.root / "pets" / split / name / f"{seed}.png"
                path.write_bytes(encoded(coloured(name, seed), "PNG"))
    here.run("extract", *RANDOM, "--dataset", f"folder:{here.root}/pets")
    here.run("extract", *RANDOM, "--dataset", f"classes:{here.root}/pets")
    return here


def test_a_folders_splits_and_its_classes_are_told_apart(both: Place) -> None:
    assert "24 rows" in both.run(*LINEAR).stdout  # what was made last
    assert "12 rows" in both.run(*LINEAR, "--dataset", f"folder:{both.root}/pets").stdout
    assert "24 rows" in both.run(*LINEAR, "--dataset", f"classes:{both.root}/pets").stdout


def test_classes_that_were_not_extracted_are_missed(both: Place, tmp_path: Path) -> None:
    here = Place(tmp_path)
    here.run("extract", *RANDOM, "--dataset", f"folder:{both.root}/pets")
    said = here.fails(*LINEAR, "--dataset", f"classes:{both.root}/pets")
    assert "as it is divided, into all: those there are of train rows, it was divided in another way then; `head" in said
    follow(here, said)
    assert "24 rows" in here.run(*LINEAR, "--dataset", f"classes:{both.root}/pets").stdout


def follow(here: Place, said: str) -> None:
    """Run every command that a line names, as it stands."""
    commands = re.findall("`headstart ([^`]*)`", said)
    assert commands
    for command in commands:
        here.run(*shlex.split(command))


def test_a_folder_that_was_divided_since_is_answered_with_the_command_that_mends_it(both: Place, tmp_path: Path) -> None:
    here, pets = Place(tmp_path), tmp_path / "my pets"
    shutil.copytree(both.root / "pets" / "train", pets)
    here.run("extract", *RANDOM, "--dataset", f"folder:{pets}")
    for split, numbers in (("train", range(4)), ("val", (4,)), ("test", (5,))):
        for name in ("green", "red"):
            (pets / split / name).mkdir(parents=True)
            for number in numbers:
                (pets / name / f"{number}.png").rename(pets / split / name / f"{number}.png")
    for name in ("green", "red"):
        (pets / name).rmdir()
    said = here.fails(*LINEAR, "--dataset", f"folder:{pets}")
    assert "as it is divided, into train, val, test: those there are of all rows, it was divided in another way" in said
    assert f"extract -m resnet18 --dataset 'folder:{pets}' --weights random:0 --transform preset --image-size 32" in said
    follow(here, said)
    here.run(*LINEAR, "--dataset", f"folder:{pets}")


def test_a_model_without_features_of_a_divided_folder_is_named_in_the_command(both: Place, tmp_path: Path) -> None:
    here = Place(tmp_path)
    here.run("extract", *RANDOM, "--dataset", f"folder:{both.root}/pets")
    said = here.fails("train-head", "-m", "resnet34", "-m", "resnet18", "--dataset", f"classes:{both.root}/pets")
    assert f"`headstart extract -m resnet34 --dataset classes:{both.root}/pets` and `headstart extract -m resnet18" in said
    assert said.endswith("` make them")


def test_a_way_that_none_was_computed_in_is_answered_with_those_there(both: Place) -> None:
    there = "there are --image-size 32 --precision fp32 --transform preset --pool avg --layer last --weights random:0"
    assert f"no features with --precision bf16; {there}" in both.fails(*LINEAR, "--precision", "bf16")
    assert f"no features with the key zz; {there}" in both.fails(*LINEAR, "--key", "zz")


def test_an_interrupted_set_has_one_word_and_is_not_whole(both: Place, tmp_path: Path) -> None:
    here = Place(tmp_path)
    here.run("extract", *RANDOM, "--dataset", f"classes:{both.root}/pets")
    (manifest,) = tmp_path.glob("features/*/manifest.json")
    name = manifest.parent.name
    assert f"{name}: whole\n" in here.run("cache", "verify", f"{here.root}/features/{name}").stdout
    assert "the first 24 of 24 all images" in here.run("cache", "show", f"{here.root}/features/{name}").stdout
    manifest.unlink()
    assert "not complete" in here.run("cache", "ls").stdout
    assert f"{name}: not complete\n" in here.run("cache", "verify", code=1).stdout
    assert "no training features of resnet18 (there are none yet)" in here.fails(*LINEAR)
