"""Decisions on pictures: every one that was confirmed is read again, whoever writes, and whatever killed them."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache import corrections
from headstart.core.cache.corrections import KEEP, LABEL, REMOVE, UNDO, UNSURE, Correction
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound

FIRST, SECOND = "a" * 64, "b" * 64
WHEN = "2026-01-02T03:04:05Z"


def label(name: str, picture: str = FIRST) -> Correction:
    return Correction(picture, LABEL, name, "dog", "dogs/1.jpg", WHEN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own" / "corrections.csv"


def test_the_last_decision_on_a_picture_stands(path: Path) -> None:
    corrections.append(path, [label("cat"), Correction(SECOND, REMOVE)])
    made = corrections.append(path, [label("owl"), Correction(SECOND, KEEP)])
    assert made == corrections.read(path)
    assert made.lines == 4
    assert made.stands == {FIRST: label("owl"), SECOND: Correction(SECOND, KEEP)}
    assert [made.count(action) for action in (LABEL, KEEP, UNSURE, REMOVE)] == [1, 1, 0, 0]
    assert path.read_text().splitlines()[:2] == [
        "picture,action,label,given,id,when", f"{FIRST},label,cat,dog,dogs/1.jpg,{WHEN}",
    ]  # fmt: skip


def test_undo_takes_back_one_decision_after_the_other(path: Path) -> None:
    corrections.append(path, [label("cat"), label("owl")])
    assert corrections.append(path, [Correction(FIRST, UNDO)]).stands == {FIRST: label("cat")}
    assert corrections.append(path, [Correction(FIRST, UNDO), Correction(FIRST, UNDO)]).stands == {}
    assert corrections.append(path, [label("fox")]).stands == {FIRST: label("fox")}
    assert corrections.read(path).lines == 6


def test_equal_changes_have_one_digest(tmp_path: Path) -> None:
    one = corrections.append(tmp_path / "1.csv", [label("cat"), Correction(SECOND, REMOVE)])
    other = corrections.append(tmp_path / "2.csv", [Correction(SECOND, REMOVE), label("owl"), label("cat")])
    more = corrections.append(tmp_path / "2.csv", [Correction("c" * 64, KEEP), Correction("d" * 64, UNSURE)])
    changed = corrections.append(tmp_path / "2.csv", [label("owl")])
    assert one.digest == other.digest == more.digest != changed.digest


anything = st.text(st.characters(codec=None), max_size=12) | st.text("\\x0a9,\"'\n\r\u2028\udc80\udcff;=", max_size=12)
decisions = st.builds(
    lambda picture, action, name, was, own: Correction(picture, action, name if action == LABEL else "", was, own, WHEN),
    st.integers(0, 3).map(lambda number: f"{number:064x}"),
    st.sampled_from(corrections.ACTIONS),
    anything.filter(bool),
    anything,
    anything,
)


@given(st.lists(decisions, max_size=6), st.integers(0, 200))
def test_any_names_are_read_again_and_a_line_that_was_broken_off_was_never_there(
    tmp_path_factory: pytest.TempPathFactory, made: list[Correction], cut: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "corrections.csv"
    corrections.append(path, made)
    whole = path.read_bytes()
    assert whole.count(b"\n") == 1 + len(made)
    assert all(
        corrections.read(path).stands[one.picture] in made for one in made if one.picture in corrections.read(path).stands
    )
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    kept = whole[: max(0, len(whole) - cut)]
    lines = kept.count(b"\n") + kept.endswith(WHEN.encode())
    found = corrections.read(path)
    assert found.lines == max(0, lines - 1)
    assert found.torn == (bool(kept) and not kept.endswith((b"\n", WHEN.encode())))
    again = corrections.append(path, made[max(0, lines - 1) :])
    assert path.read_bytes() == whole
    assert not again.torn


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,label\nx,y\n", r"line 1: found 'id,label', expected the columns picture, action, label, given, id, when"),
        (b"\x89PNG\r\n\x1a\n", r"line 1: found '.PNG', expected the columns"),
        (b"picture,action,label\nabc,keep,\n", r"line 2: picture 'abc': expected a SHA-256 of 64 hexadecimal digits"),
        (b"picture,action,label\n%s,maybe,\n" % (b"a" * 64), r"line 2: action 'maybe': expected one of label, keep, "),
        (b"picture,action,label\n%s,label,\n" % (b"a" * 64), r"line 2: label '' of action label: expected the new label"),
        (b"picture,action,label\n%s,keep,cat\n" % (b"a" * 64), r"line 2: label 'cat' of action keep: expected none"),
        (b"picture,action,label\n%s,keep\n" % (b"a" * 64), r"line 2: has 2 cells, expected 3"),
        (b"picture,action,label\n\n%s,keep,\n" % (b"a" * 64), r"line 2: is empty; take it out"),
        (b"picture,action,label\n%s,label,\xff\n" % (b"a" * 64), r"line 2: is no UTF-8"),
        (b"picture,action,label\n%s,label,\\Uffffffff\n" % (b"a" * 64), r"line 2: \\Uffffffff is no escape"),
        (b'picture,action,label\n%s,label,"cat\n' % (b"a" * 64), r"line 2: unexpected end of data"),
    ],
)
def test_other_files_are_refused_and_left_as_they_are(path: Path, content: bytes, message: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for act in (lambda: corrections.read(path), lambda: corrections.append(path, [label("cat")])):
        with pytest.raises(DataInvalid, match=message):
            act()
    assert path.read_bytes() == content


def test_a_file_that_was_edited_elsewhere_is_taken(path: Path) -> None:
    """With a byte order mark, other ends of lines, the columns in another order, none at the end."""
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbfaction,picture,label,when\r\nlabel,%s,cat,%s" % (FIRST.encode(), WHEN.encode()))
    assert corrections.read(path).stands == {FIRST: Correction(FIRST, LABEL, "cat", when=WHEN)}
    made = corrections.append(path, [Correction(SECOND, KEEP, given="dog", when=WHEN)])
    assert path.read_bytes().endswith(b"Z\nkeep,%s,,%s\n" % (SECOND.encode(), WHEN.encode()))
    assert made.lines == 2


def test_what_is_no_file_of_corrections_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"none\.csv: no such file of corrections; `headstart review` makes one"):
        corrections.read(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataInvalid, match=r"pipe\.csv: is no regular file"):
        corrections.read(tmp_path / "pipe.csv")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        corrections.append(tmp_path, [label("cat")])
    with pytest.raises(ArgumentInvalid, match=r"label '' of action label: expected the new label"):
        Correction(FIRST, LABEL)


def test_many_who_write_at_once_lose_nothing(path: Path) -> None:
    """Four threads, and two processes beside them."""
    code = (
        "import sys; from pathlib import Path; from headstart.core.cache import corrections as c\n"
        "for i in range(40): c.append(Path(sys.argv[1]), [c.Correction(f'{int(sys.argv[2]) * 1000 + i:064x}', 'keep')])"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in (8, 9)]

    def work(number: int) -> None:
        for i in range(40):
            corrections.append(path, [Correction(f"{number * 1000 + i:064x}", KEEP)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    found = corrections.read(path)
    assert found.lines == len(found.stands) == 240


def test_a_killed_writer_loses_nothing_that_it_had_confirmed(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.core.cache import corrections as c\n"
        "for i in range(10**6):\n"
        "    c.append(Path(sys.argv[1]), [c.Correction(f'{i:064x}', 'keep', when=c.now())])\n"
        "    print(i, flush=True)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if int(line) == 20:
                    break
            writer.kill()
            last = [int(line) for line in writer.stdout if line.endswith("\n")][-1:] or [20]
        assert set(corrections.read(path).stands) >= {f"{i:064x}" for i in range(last[0] + 1)}
        assert corrections.append(path, [Correction(SECOND, KEEP)]).stands[SECOND].action == KEEP
        path.unlink()
