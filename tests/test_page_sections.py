"""The page's parts are found by the folder alone, and each has a place of its own."""

from pathlib import Path

import pytest

from headstart.core.heads.report.page import sections


@pytest.mark.parametrize("beside_study", [True, False])
def test_no_two_parts_have_one_key_or_one_place(beside_study: bool) -> None:
    found = sections.parts(beside_study=beside_study)
    assert len({part.key for part in found}) == len(found)
    places = [part.study_place if beside_study else part.own_place for part in found]
    assert places == sorted(places, key=lambda place: place or 0)
    assert len(set(places)) == len(places)


def test_every_file_is_a_part() -> None:
    files = [path for path in Path(sections.__file__).parent.rglob("*.py") if path.name != "__init__.py"]
    assert len({*sections.parts(beside_study=True), *sections.parts(beside_study=False)}) == len(files) > 15
