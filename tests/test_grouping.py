"""Runs are put together by content: what two names have in common does not matter, nor what two names differ in."""

import dataclasses
from typing import Any

import cache_samples
from heads_samples import make_curve, make_key, make_run

from headstart.core.cache.manifest import Manifest, ShardRecord
from headstart.core.heads.config import RECIPES, TRAINING_VERSION, changed
from headstart.core.heads.report.grouping import grouped
from headstart.core.heads.runs import Run


def run(name: str, day: int = 1, seed: int = 0, **changes: Any) -> Run:
    """A run of that day, seed and name, less `changes` of it or, as `test_images`, of the images it was tested on."""
    images = changes.pop("test_images", "1a" * 32)
    config = dataclasses.replace(changes.pop("config", RECIPES["study"]), seed=seed)
    made = make_run(name=name, created=f"2023-09-{day:02d}T12:00:00", config=config, **changes)
    return dataclasses.replace(made, test=dataclasses.replace(made.test, images=images))


def shown(*runs: Run) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """Sections by title, their lines by model and settings, and the names of their runs."""
    found = grouped(runs, {})
    return [
        (part.title, [(group.model, group.settings, [one.name for one in group.runs]) for group in part.groups])
        for part in found
    ]


def test_seeds_of_one_head_are_one_line_in_the_order_of_their_seeds() -> None:
    assert shown(run("b", seed=2), run("a", seed=0), run("c", seed=1)) == [
        ("pets", [("resnet50", "study", ["a", "c", "b"])])
    ]


def test_of_two_equal_runs_the_newest_counts() -> None:
    assert shown(run("old", 1), run("new", 2)) == [("pets", [("resnet50", "study", ["new"])])]


def test_a_curve_stays_with_the_newest_of_equal_runs() -> None:
    """A head that is trained again without --curve hides none; a newer curve takes the place of an older one."""
    one, other = make_curve(), make_curve(test_rows=1_200)
    with_curve, again, later = run("old", 1, curve=one), run("new", 2), run("later", 3, curve=other)
    found = [grouped(runs, {})[0].groups[0].runs for runs in ([with_curve, again], [with_curve, again, later], [again])]
    assert [[(it.name, it.curve) for it in runs] for runs in found] == [
        [("new", one)],
        [("later", other)],
        [("new", None)],
    ]
    (section,) = grouped([with_curve, run("seed", 2, seed=1), run("epochs", 3, config=changed("study", {"epochs": 9}))], {})
    assert [[it.curve for it in group.runs] for group in section.groups] == [[one, None], [None]]


def test_other_settings_are_another_line() -> None:
    config = dataclasses.replace(RECIPES["study"], epochs=60, lr=0.003)
    lines = [("resnet50", "study", ["a"]), ("resnet50", "study, changed: epochs 60, lr 0.003", ["b"])]
    assert shown(run("a"), run("b", config=config)) == [("pets", lines)]


def test_two_data_sets_have_a_section_each() -> None:
    digits = make_key(dataset="digits", classes=tuple("0123456789"))
    found = shown(run("a"), run("b", key=digits, test_images="2b" * 32))
    assert [title for title, _ in found] == ["pets", "digits"]


def test_other_pictures_of_the_same_name_are_another_section() -> None:
    """Two folders called pets, or one whose pictures were replaced: nothing of the one may stand beside the other."""
    found = shown(run("a"), run("b", test_images="2b" * 32, model="resnet18"))
    assert found == [
        ("pets, images 1a1a1a1a", [("resnet50", "study", ["a"])]),
        ("pets, images 2b2b2b2b", [("resnet18", "study", ["b"])]),
    ]


def test_the_same_pictures_under_two_names_are_one_section() -> None:
    found = shown(run("a"), run("b", key=make_key(dataset="pets-moved", backbone="resnet18")))
    assert [(title, len(lines)) for title, lines in found] == [("pets-moved", 2)]


def test_kinds_of_features_of_one_backbone_are_told_apart_by_what_differs() -> None:
    small, other = make_key(image_size=64), make_key(weights_sha256="99" * 32)
    models = [model for _, lines in shown(run("a"), run("b", key=small), run("c", key=other)) for model, *_ in lines]
    assert models == [
        "resnet50, 224 px, weights 0a1b2c3d",
        "resnet50, 64 px",
        "resnet50, 224 px, weights 99999999",
    ]


def test_the_same_settings_on_other_rows_say_on_how_many() -> None:
    few = run("few")
    few = dataclasses.replace(few, train_rows=40, val_rows=0, train=dataclasses.replace(few.train, used="ff" * 32))
    assert [line[1] for _, lines in shown(run("all"), few) for line in lines] == ["study, on 100 rows", "study, on 40 rows"]


def test_heads_of_two_versions_of_the_training_are_not_mixed() -> None:
    found = shown(run("a", training_version=1), run("b", seed=1))
    assert [line[1] for _, lines in found for line in lines] == [
        "study, training version 1",
        f"study, training version {TRAINING_VERSION}",
    ]


def test_a_record_that_does_not_say_which_images_it_is_of_is_looked_up_by_its_features() -> None:
    shard = ShardRecord("shard-00000.h5", 0, 5, 5, "01" * 32, "02" * 32, None, 1.5)
    key, origin = make_key(), cache_samples.make_provenance()
    manifest = Manifest(key.feature_key, key.dataset, key.classes, "test", 4, "float32", (shard,), origin)
    old = run("old", test_images="", training_version=1)
    old = dataclasses.replace(old, test=dataclasses.replace(old.test, digest=manifest.digest, split=""))
    new = run("new", test_images=manifest.images_digest, model="vgg16")
    (part,) = grouped([old, new], {manifest.digest: manifest})
    assert (part.images, [group.model for group in part.groups]) == (manifest.images_digest, ["resnet50", "vgg16"])
    assert part.groups[0].first.test.split == "test"
    assert len(grouped([old, new], {})) == 2
