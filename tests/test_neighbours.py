"""A service's training pictures: found for each head that is served, shown by the service, and nothing else is."""

import dataclasses
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import coloured
from extract_samples import encoded
from page_service_samples import HOSTILE, trained
from PIL import Image
from serve_samples import asking, problem

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.heads.runs import Run, RunStore
from headstart.serve import app
from headstart.serve.neighbours import neighbourhood as module
from headstart.serve.neighbours.neighbourhood import neighbourhoods
from headstart.serve.settings import Limits, Settings
from headstart.workspace import Workspace

PICTURE = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return trained(tmp_path_factory.mktemp("heads"), "ridge", "prototype")


@pytest.fixture
def workspace(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy that may be damaged; the pictures are where they were."""
    for name in ("features", "runs"):
        shutil.copytree(getattr(made, f"{name}_dir"), tmp_path / name)
    return dataclasses.replace(made, features_dir=tmp_path / "features", runs_dir=tmp_path / "runs")


def runs(workspace: Workspace) -> dict[str, Run | None]:
    return {run.name: run for run in RunStore(workspace.runs_dir).runs()}


def red() -> bytes:
    return encoded(coloured("red", 100), "PNG")


def one_feature(workspace: Workspace) -> np.ndarray:
    """The features of the first training picture."""
    (found,) = neighbourhoods(workspace, dict(list(runs(workspace).items())[:1]), print).values()
    (block,) = found.rows.rows.blocks(np.ones(24, dtype=bool), 24)
    return np.array(block.features[0])


def test_heads_that_learned_from_the_same_rows_share_them(workspace: Workspace) -> None:
    said = list[str]()
    found = [*neighbourhoods(workspace, runs(workspace), said.append).values()]
    assert len(found) == 2
    assert said == []
    assert found[0].rows is found[1].rows
    assert found[0].search is found[1].search
    assert found[0].gallery is found[1].gallery
    assert found[0].digest != found[1].digest


def test_a_training_picture_is_nearest_to_itself(workspace: Workspace) -> None:
    (found, _) = neighbourhoods(workspace, runs(workspace), print).values()
    (own, *others) = found.nearest(one_feature(workspace), 24) or []
    assert own["id"] == found.rows.ids[0].decode()
    assert own["cosine"] == pytest.approx(1)
    assert own["thumbnail"] == f"/v1/thumbnails/{found.digest}/0"
    assert len(others) == 23
    values = [one["cosine"] for one in others]
    assert values == sorted(values, reverse=True)


def test_rows_that_there_is_no_room_for_are_read_from_the_disk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = one_feature(workspace)
    (kept, _) = neighbourhoods(workspace, runs(workspace), print).values()
    monkeypatch.setattr(module, "KEPT", 1000)
    (read, _) = neighbourhoods(workspace, runs(workspace), print).values()
    assert kept.nearest(features, 6) == read.nearest(features, 6)
    (path,) = workspace.features_dir.rglob("shard-*.h5")
    path.unlink()
    assert kept.nearest(features, 5) is not None
    assert read.nearest(features, 5) is None  # and the labels are answered all the same


def test_rows_that_would_take_too_long_are_left_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr(module, "MOST", 24 * 512 * 4 - 1)
    assert neighbourhoods(workspace, runs(workspace), said.append) == {}
    assert all("24 x 512 features are too many to look through for each picture, 49" in text for text in said)


def test_what_is_not_at_hand_is_said(workspace: Workspace) -> None:
    said, there = list[str](), runs(workspace)
    name = next(iter(there))
    (workspace.features_dir / "other").mkdir()
    (workspace.features_dir / "other" / "manifest.json").write_text("damaged")  # nobody's business here
    assert len(neighbourhoods(workspace, {**there, "a file": None}, said.append)) == 2
    assert said == [
        "a file: without its run.json nobody knows what it was trained on; a file answers without its nearest training "
        "pictures"
    ]
    (folder,) = workspace.features_dir.glob("folder-*")
    shutil.rmtree(folder)
    said.clear()
    assert neighbourhoods(workspace, there, said.append) == {}
    assert said[0].startswith(f"{name}: the features that it was trained on, {folder.name}, are not there; {name} answers")


def test_pictures_that_are_gone_are_named_and_not_shown(workspace: Workspace, tmp_path: Path) -> None:
    said, pets = list[str](), workspace.data_dir.parent / "pets"
    pets.rename(pets.with_name("elsewhere"))
    try:
        (found, _) = neighbourhoods(workspace, runs(workspace), said.append).values()
    finally:
        pets.with_name("elsewhere").rename(pets)
    assert said[0].endswith("pets: no such folder; its training pictures are named and not shown")
    assert len(said) == 1
    first = (found.nearest(one_feature(workspace), 1) or [{}])[0]
    assert (first["id"], first["thumbnail"]) == (found.rows.ids[0].decode(), None)
    with pytest.raises(ImageUnreadable, match="the training pictures are not where they were"):
        found.thumbnail(0)


# --------------------------------------------------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def client(made: Workspace) -> Iterator[Any]:
    names = sorted(path.name for path in made.runs_dir.iterdir())
    with asking(app.create(made, names, Settings())) as found:
        yield found


def test_a_prediction_names_training_pictures_that_the_service_shows(client: Any) -> None:
    heads = client.post("/v1/predict?neighbours=4", content=red(), headers=PICTURE).json()["pictures"][0]["heads"]
    assert len(heads) == 2
    for head in heads:
        assert [one["label"] for one in head["neighbours"]] == [HOSTILE] * 4
        for one in head["neighbours"]:
            found = client.get(one["thumbnail"])
            assert found.headers["content-type"] == "image/png"
            assert found.headers["cache-control"] == "private, max-age=3600"
            assert found.headers["x-content-type-options"] == "nosniff"
            number = int(one["id"].removeprefix(f"{HOSTILE}/").removesuffix(".png"))
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.content))), np.asarray(coloured("red", number)))
    assert all(head["neighbours"] for head in client.get("/v1/heads").json()["heads"])


def test_none_are_given_where_none_were_asked_for(client: Any) -> None:
    (one, other) = client.post("/v1/predict", content=red(), headers=PICTURE).json()["pictures"][0]["heads"]
    assert (one["neighbours"], other["neighbours"]) == (None, None)


@pytest.mark.parametrize(
    "row", ["24", "-1", "1e1", "0x1", "999999999999", "9999999999999", "%30%00", "..%2f..%2fetc%2fpasswd"]
)
def test_nothing_else_is_shown(row: str, client: Any) -> None:
    digest = client.get("/v1/heads").json()["heads"][0]["digest"]
    found = client.get(f"/v1/thumbnails/{digest}/{row}")
    assert (found.status_code, found.headers["content-type"]) == (404, "application/problem+json")


def test_heads_that_are_not_served_show_nothing(client: Any) -> None:
    problem(client.get(f"/v1/thumbnails/{'ab' * 32}/0"), 404, "no such training picture")


def test_a_picture_that_changed_is_not_shown_and_no_path_is_told(made: Workspace) -> None:
    names = sorted(path.name for path in made.runs_dir.iterdir())
    with asking(app.create(made, names, Settings())) as found:
        digest = found.get("/v1/heads").json()["heads"][0]["digest"]
        near = found.post("/v1/predict?neighbours=1", content=red(), headers=PICTURE).json()
        one = near["pictures"][0]["heads"][0]["neighbours"][0]
        path = made.data_dir.parent / "pets" / one["id"]
        before = path.read_bytes()
        path.write_bytes(red())
        try:
            answer = found.get(one["thumbnail"])
            problem(answer, 404, "^the training picture is not there, or another one by now$")
        finally:
            path.write_bytes(before)
        assert found.get(one["thumbnail"]).status_code == 200
        assert digest in one["thumbnail"]


def test_thumbnails_need_the_token_and_the_page_does_not(made: Workspace) -> None:
    names = sorted(path.name for path in made.runs_dir.iterdir())
    with asking(app.create(made, names, Settings(token="s3cret"))) as found:
        known = {"authorization": "Bearer s3cret"}
        digest = found.get("/v1/heads", headers=known).json()["heads"][0]["digest"]
        problem(found.get(f"/v1/thumbnails/{digest}/0"), 401, "a token is needed")
        assert found.get(f"/v1/thumbnails/{digest}/0", headers=known).status_code == 200
        assert found.get("/").status_code == 200


def test_a_service_without_neighbours_has_none(made: Workspace) -> None:
    names = sorted(path.name for path in made.runs_dir.iterdir())
    with asking(app.create(made, names, Settings(near=False))) as found:
        heads = found.get("/v1/heads").json()["heads"]
        assert [head["neighbours"] for head in heads] == [False, False]
        problem(
            found.post("/v1/predict?neighbours=1", content=red(), headers=PICTURE),
            422,
            "the training pictures are not at hand",
        )
        problem(found.get(f"/v1/thumbnails/{heads[0]['digest']}/0"), 404, "no such training picture")


def test_thumbnails_are_requests_in_hand(made: Workspace) -> None:
    names = sorted(path.name for path in made.runs_dir.iterdir())
    service = app.create(made, names, Settings(limits=Limits(requests=1)))
    with asking(service) as found:
        digest = found.get("/v1/heads").json()["heads"][0]["digest"]
        with service.hand.taking():
            problem(found.get(f"/v1/thumbnails/{digest}/0"), 429, "1 requests are in hand, which is the limit")
        assert found.get(f"/v1/thumbnails/{digest}/0").status_code == 200


def test_they_stand_in_the_openapi_document(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert paths["/v1/thumbnails/{digest}/{row}"]["get"]["responses"].keys() >= {"200", "404", "429"}
    assert paths["/"]["get"]["security"] == []
