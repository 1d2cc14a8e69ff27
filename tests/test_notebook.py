"""A bar in a notebook, silence elsewhere. The notebook is a stand-in: IPython need not be installed."""

import sys
import types
from typing import Any

import pytest

from headstart.api.notebook import watching
from headstart.observer import SILENT, Observer


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, html: str) -> None:
        self.shown.append(html)


class Notebook(types.ModuleType):
    """What of IPython a bar needs; `shown` is what it was given to show."""

    def __init__(self, shell: object) -> None:
        super().__init__("IPython")
        self.shown: list[str] = []
        self.get_ipython = lambda: shell
        self.display = types.SimpleNamespace(HTML=str, display=self._display)

    def _display(self, html: str, display_id: bool = False) -> Any:
        self.shown.append(html)
        return Handle(self.shown) if display_id else None


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    found = Notebook(types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", found)
    return found


def test_a_notebook_gets_a_bar(notebook: Notebook) -> None:
    watch = watching(None)
    watch.begin("a <title>", 10, 4)
    watch.advance(6)
    watch.note("a & b")
    watch.remark("c")
    watch.warn("d")
    watch.end()
    watch.end()  # an end without a beginning is nothing
    assert 'value="4" max="10"' in notebook.shown[0]
    assert "a &lt;title&gt;: 4 of 10" in notebook.shown[0]
    assert notebook.shown[1] == "<small>a &amp; b</small>"
    assert notebook.shown[2:4] == ["<small>note: c</small>", "<small>WARNING: d</small>"]
    assert "10 of 10" in notebook.shown[4]
    assert len(notebook.shown) == 5


def test_who_watches_is_the_callers_choice(notebook: Notebook) -> None:
    own = Observer()
    assert watching(own) is own


def test_a_script_and_a_terminal_get_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert watching(None) is SILENT
    monkeypatch.setitem(sys.modules, "IPython", Notebook(types.SimpleNamespace()))
    assert watching(None) is SILENT
