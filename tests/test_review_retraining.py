"""Retraining on odd data: splits, several backbones, near-copies, one class, classes of one picture."""

from pathlib import Path

import numpy as np
import pytest
from cli_samples import Place
from PIL import Image
from review_samples import SMALL, draw, extracted, scene

from headstart.core.cache import corrections
from headstart.core.cache.corrections import LABEL, REMOVE, UNSURE, Correction
from headstart.observer import SILENT
from headstart.review import making
from headstart.review.making import Review
from headstart.review.order import KINDS
from headstart.review.request import ReviewRequest
from headstart.review.work import Progress
from headstart.workspace import Workspace


def prepared(workspace: Workspace, path: Path) -> Review:
    return making.prepare(workspace, ReviewRequest(corrections=path), SILENT)


def decide(review: Review, name: str, action: str, label: str = "") -> None:
    """A decision on the picture with this id."""
    work = review.work
    (item,) = [item for item in range(len(work.contents)) if work.contents.name(item) == name]
    (standing,) = work.decisions.of([work.contents.marks[item]])
    work.decisions.decide(Correction(standing.picture, action, label, when=corrections.now()), standing.version)


def retrained(review: Review) -> str:
    """The state of a retraining that was waited for."""
    assert review.work.retrain()
    review.work.join()
    assert sorted(review.work.queue.order) == list(range(len(review.work.contents)))
    return review.work.progress.state


def test_by_the_test_split_with_a_val_split_two_backbones_and_a_near_copy(tmp_path: Path) -> None:
    pictures = draw(tmp_path / "pets", 60, test=30, wrong=4)
    rng = np.random.default_rng(9)
    for number in range(12):
        folder = pictures / "val" / ["blue", "green", "red"][number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        scene(rng, folder.name).save(folder / f"val{number}.png")
    (pictures / "test" / "blue").mkdir(exist_ok=True)
    with Image.open(pictures / "train" / "blue" / "train000-blue.png") as first:
        first.save(pictures / "test" / "blue" / "twin.jpg", quality=95)
    Place(tmp_path).run("extract", "-m", "squeezenet1_1", *SMALL[2:], "--dataset", f"folder:{pictures}")
    review = prepared(extracted(tmp_path, pictures), tmp_path / "c.csv")
    work = review.work
    assert set(review.found.rows.models) == {"resnet18", "squeezenet1_1"}
    near = {work.contents.name(item): one for item, one in work.queue.proposals.items() if one.kind == "near-duplicate"}
    if "blue/train000-blue.png" in near:  # else its label is doubted, which comes first
        one = near["blue/train000-blue.png"]  # the test picture stays
        assert (one.action, work.contents.name(one.twin or 0)) == (REMOVE, "blue/twin.jpg")
    decide(review, "blue/twin.jpg", REMOVE)
    decide(
        review, "red/train005-red.png" if _has(review, "red/train005-red.png") else "green/train005-red.png", LABEL, "red"
    )
    assert retrained(review) == "done"
    found = work.progress.comparison
    assert found is not None
    assert found.before is not None
    assert (found.by, found.before.total, found.after.total) == ("the test pictures", 30, 30)


def _has(review: Review, name: str) -> bool:
    return any(review.work.contents.name(item) == name for item in range(len(review.work.contents)))


def test_one_class_alone_becomes_two(tmp_path: Path) -> None:
    folder = tmp_path / "pets" / "animal"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(20):
        scene(rng, ["blue", "red"][number % 2]).save(folder / f"{number:02}.png")
    review = prepared(extracted(tmp_path, tmp_path / "pets"), tmp_path / "c.csv")
    assert retrained(review) == "failed"
    assert review.work.progress.error == (
        "20 pictures have a label, all of 'animal': label some of two classes or more first"
    )
    for number in range(0, 20, 2):
        decide(review, f"animal/{number:02}.png", LABEL, "blue")
    decide(review, "animal/01.png", LABEL, "alone")
    decide(review, "animal/03.png", UNSURE)
    assert retrained(review) == "done"
    found = review.work.progress.comparison
    assert found is not None
    assert (found.before, found.after.total, found.decisions) == (None, 20, 12)
    assert review.work.queue.classes == ("animal", "alone", "blue")


def test_all_pictures_removed_is_said(tmp_path: Path) -> None:
    review = prepared(extracted(tmp_path, draw(tmp_path / "pets", 12)), tmp_path / "c.csv")
    for item in range(12):
        decide(review, review.work.contents.name(item), REMOVE)
    assert retrained(review) == "failed"
    assert "0 pictures have a label, no picture has one" in review.work.progress.error
    assert retrained(review) == "failed"  # and may be tried again


def test_one_retraining_at_a_time(tmp_path: Path) -> None:
    review = prepared(extracted(tmp_path, draw(tmp_path / "pets", 12)), tmp_path / "c.csv")
    started = [review.work.retrain() for _ in range(5)]
    review.work.join()
    assert started[0]
    assert review.work.progress.number == sum(started)


def test_a_retraining_says_for_how_long_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.review.work.time.monotonic", lambda: 130.0)
    assert Progress("running", 1, 1, 4, started=40.0).to_json()["seconds"] == 90
    assert Progress("done", 1, 4, 4, started=40.0).to_json()["seconds"] == 0


@pytest.mark.parametrize("pictures", [2, 3])
def test_hardly_any_pictures(pictures: int, tmp_path: Path) -> None:
    review = prepared(extracted(tmp_path, draw(tmp_path / "pets", pictures)), tmp_path / "c.csv")
    assert {one.kind for one in review.work.queue.proposals.values()} <= set(KINDS)
    assert retrained(review) == "failed"  # each class has one picture: none can be predicted by the others
    assert "no class has two images" in review.work.progress.error
