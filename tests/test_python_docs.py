"""docs/python.md is true: its blocks run from top to bottom, and the README's names are the API's."""

import re
from pathlib import Path

from api_samples import here
from extract_samples import ROOT

import headstart as hs

__all__ = ["here"]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_runs_from_top_to_bottom(here: Path) -> None:
    told: list[str] = []
    names: dict[str, object] = {"print": lambda *what: told.append(" ".join(str(one) for one in what))}
    for block in blocks(ROOT / "docs/python.md"):
        exec(compile(block, "docs/python.md", "exec"), names)
    assert told[0] == "Features(resnet18 digits train and test: 600 x 512, 10 classes)"
    assert "nothing.jpg: can't be opened: No such file or directory" in told


def test_the_documents_name_what_is_there() -> None:
    for path in (ROOT / "docs/python.md", ROOT / "README.md"):
        named = {name for block in blocks(path) for name in re.findall(r"\bhs\.(\w+)", block)}
        assert named <= set(hs.__all__)
        assert named >= {"extract", "train", "load", "open", "Backbone", "Head"}
