"""The heads that users name: by a folder, a file or a run's name."""

from pathlib import Path

import pytest

from headstart.core.cache.errors import RunNotFound
from headstart.inference.trained import called
from headstart.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a-run").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    return Workspace(tmp_path / "features", tmp_path / "runs", tmp_path / "data", "cpu")


def test_a_run_is_named_by_its_name_or_by_where_it_is(workspace: Workspace) -> None:
    found = called(workspace, ["a-run", "runs/a-run", "kept", "runs/a-run/head.safetensors"])
    assert found.paths == (
        workspace.runs_dir / "a-run",
        Path("runs/a-run"),
        Path("kept"),
        Path("runs/a-run/head.safetensors"),
    )


@pytest.mark.parametrize("name", ["../runs/no-run", "./no-run", "."])
def test_what_is_no_run_stays_a_path(workspace: Workspace, name: str) -> None:
    assert called(workspace, [name]).paths == (Path(name),)


@pytest.mark.parametrize("name", ["no-run", "runs-of-mine"])
def test_a_plain_name_that_is_nothing_is_said(workspace: Workspace, name: str) -> None:
    with pytest.raises(
        RunNotFound, match=rf"^{name}: no run in .*runs is called so, and no folder or file here; `headstart"
    ):
        called(workspace, [name])


def test_none_named_is_the_newest(workspace: Workspace) -> None:
    assert called(workspace, []).paths == ()
