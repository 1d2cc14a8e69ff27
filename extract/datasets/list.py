"""Pictures that a table lists: `list:FILE.csv`, .tsv, .jsonl or .parquet, with a column of paths and one of labels.

Paths are relative to the list, or all are URLs of an object store. A column `split` says train, val or test, one called
`group` which pictures belong together: a row's id ends in it then. `#path,label` after the file says which columns are
meant.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.cache.objects import STORES
from headstart.core.cache.places import is_url, listed_place, place, stored
from headstart.core.cache.text import listed, safe
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages, facts_of
from headstart.core.extract.images.labels import class_names, indices, spelled, summary
from headstart.core.extract.images.listing import SUFFIXES as _SUFFIXES
from headstart.core.extract.images.listing import listing
from headstart.core.extract.images.patterns import Argument, argument, one_file
from headstart.core.extract.images.ranged.index import Index, indexed
from headstart.core.extract.images.ranged.opening import LEAST_ROWS, opened_split, splits_there
from headstart.core.extract.images.ranged.tables import is_longer, table
from headstart.core.extract.images.splits import Kind, kind_of_word, splits_of

ARGUMENT = "FILE"
SUFFIXES = (".csv", ".tsv", ".jsonl")
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path")
LABELS = ("label", "class", "target", "category", "labels", "class_name", "label_name")
SPLITS = ("split", "subset", "partition", "set")
GROUPS = ("group", "groups", "group_id")


def given(text: str) -> Argument:
    """What the argument names. Raises DataNotFound where it is empty."""
    return argument("list", text, "FILE.csv")


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train`, `val` and `test` as far as the list says so, or `all`. Raises DataNotFound, DataInvalid."""
    if (index := _long(given(argument))) is not None:
        return tuple(splits_there(index).splits)
    found = _read(given(argument))
    return tuple(splits_of((row.kind for row in found.rows), found.path).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split; files are looked for, not read. Raises DataNotFound, DataInvalid."""
    named = given(argument)
    if (index := _long(named)) is not None:
        path, columns = index.table.path, dict(index.columns)
        remarks = (_taken(columns, path, named.columns), *_of_groups(columns), *_of_root(index.root, path))
        return opened_split(index, split, named.name, named.origin, tuple(filter(None, remarks)))
    found = _read(named)
    found = dataclasses.replace(found, root=listed_place(str(found.root)))
    there = splits_of((row.kind for row in found.rows), found.path)
    classes = class_names((row.label for row in found.rows if row.kind in there.training), found.path)
    own = [row for row in found.rows if row.kind == there.splits[split]]
    targets = indices([row.label for row in own], classes, found.path, f"the {split} split")
    return FileImages(
        name=named.name,
        split=split,
        classes=classes,
        root=found.root,
        paths=tuple(row.path for row in own),
        targets=tuple(targets),
        groups=tuple(row.group for row in own) if found.grouped else (),
        top=Path(named.origin),
        made_from=named.origin,
        lost=_lost(own, found),
        remarks=(*summary(split, targets, classes), *found.remarks, *there.remarks),
    ).stratified()


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """A line of the list: its picture below the root, its label as text, and what it says of split and group."""

    line: int
    path: str
    label: str
    kind: Kind
    group: str


@dataclasses.dataclass(frozen=True)
class _List:
    """A list as read: the folder that its pictures are below, its rows, and what must be said of it."""

    path: Path
    root: Path
    rows: tuple[_Row, ...]
    grouped: bool
    line: str
    remarks: tuple[str, ...]


def _read(named: Argument) -> _List:
    path = one_file(named, _SUFFIXES)
    return _parsed(path, named.columns, facts_of(path))


def _long(place: Argument) -> Index | None:
    """The index of a list that is too long to be held; None of any other."""
    path = one_file(place, _SUFFIXES)
    return _indexed(path, place.columns, facts_of(path), LEAST_ROWS)


@functools.lru_cache(maxsize=4)
def _indexed(path: Path, wanted: tuple[str, ...], facts: tuple[int, ...], least: int) -> Index | None:
    """The index, made again only where the file has changed."""
    if path.suffix.lower() not in _SUFFIXES or not is_longer(path, least):
        return None
    found = table(path)
    return indexed(found, _columns(found.columns, wanted, path), _check_local, facts)


@functools.lru_cache(maxsize=4)
def _parsed(path: Path, wanted: tuple[str, ...], facts: tuple[int, ...]) -> _List:
    """The list, read again only where the file has changed."""
    table = listing(path)
    if not table.rows:
        raise DataNotFound(f"{path}: lists no pictures; expected a column path and one label, and a row for each picture")
    columns = _columns(table.columns, wanted, path)
    cells = {what: [row[table.columns.index(name)] for _, row in table.rows] for what, name in columns.items()}
    lines, none = [line for line, _ in table.rows], [""] * len(table.rows)
    for line, text in zip(lines, cells["path"], strict=True):
        _check_path(text, f"{path}, {table.line} {line}")
    urls = any(map(is_url, cells["path"]))
    root, paths = _in_store(path, cells["path"]) if urls else _below(path.parent, cells["path"])
    labels = spelled(cells.get("label", none))
    words = cells.get("split", none)
    kinds = [kind_of_word(word, f"{path}, {table.line} {line}") for word, line in zip(words, lines, strict=True)]
    groups = cells.get("group", none)
    rows = [_Row(*row) for row in zip(lines, paths, labels, kinds, groups, strict=True)]
    kept, twice = _once(rows, path, table.line)
    remarks = [_taken(columns, path, wanted), *twice, *_of_groups(columns), *_of_root(root, path)]
    return _List(path, root, tuple(kept), "group" in columns, table.line, tuple(filter(None, remarks)))


def _columns(there: Sequence[str], wanted: Sequence[str], path: Path) -> dict[str, str]:
    """The columns by what they hold: those `wanted` for paths and labels, else those of usual names. Raises DataInvalid."""
    if gone := [name for name in wanted if name not in there]:
        raise DataInvalid(f"{path}: has no column {listed(gone)}; there are {listed(there)}")
    found = _asked(wanted, path)
    for what, usual in (("path", PATHS), ("label", LABELS), ("split", SPLITS), ("group", GROUPS)):
        names = [name for name in there if name.lower().replace(" ", "_") in usual and name not in found.values()]
        exact = [name for name in names if name.lower() == what] if len(names) > 1 else names
        if what in found or not names:
            continue
        if len(exact) != 1:
            way_out = (
                f"say which one: --dataset 'list:{safe(path)}#{names[0]}'" if what in ("path", "label") else "rename one"
            )
            raise DataInvalid(f"{path}: the columns {listed(names)} may all be meant by {what}; {way_out}")
        found[what] = exact[0]
    if "path" not in found:
        other = f"; --dataset parquet:{path} reads pictures that are in it" if path.suffix.lower() == ".parquet" else ""
        raise DataInvalid(
            f"{path}: has no column of paths ({', '.join(PATHS[:4])}, …); there are {listed(there)}; the first line names "
            f"the columns{other}"
        )
    return found


def _asked(wanted: Sequence[str], path: Path) -> dict[str, str]:
    """What `#path,label`, `#label` or `#path` says."""
    if len(wanted) > 2:
        raise DataInvalid(f"{path}: #{','.join(wanted)} names {len(wanted)} columns, expected #LABEL or #PATH,LABEL")
    if len(wanted) == 1:
        return {"path" if wanted[0].lower() in PATHS else "label": wanted[0]}
    return dict(zip(("path", "label"), wanted, strict=False))


def _check_path(text: str, where: str) -> None:
    if not text.strip():
        raise DataInvalid(f"{where}: has no path; remove the line")
    if is_url(text) and text.partition(":")[0].lower() in STORES:
        try:
            place(text)
        except ArgumentInvalid as error:
            raise DataInvalid(f"{where}: {safe(error)}") from None
    elif "://" in text:
        raise DataInvalid(f"{where}: {safe(text)[:100]} is an address; download the pictures, and list where they are")
    if "\0" in text:
        raise DataInvalid(f"{where}: the path holds a NUL character; write it anew")


def _check_local(text: str, where: str) -> None:
    """Of a list that is read by range."""
    _check_path(text, where)
    if is_url(text):
        raise DataInvalid(
            f"{where}: {safe(text)[:100]} is in an object store; a list of more than {LEAST_ROWS:,} rows names files of "
            f"this machine only, so divide it into lists of fewer rows"
        )


def _below(folder: Path, paths: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder that the pictures are below, and their paths there: the list's own, and where one lies outside of it the
    deepest one that holds all pictures. So no path names more of a machine's folders than tells its pictures apart."""
    folders: dict[str, str] = {}
    whole = []
    for text in paths:
        above, name = os.path.split(os.path.join(folder, text))
        if ".." in above:  # what a link leads to may lie elsewhere than the names say
            if above not in folders:
                folders[above] = os.path.realpath(above)
            above = folders[above]
        whole.append(os.path.normpath(os.path.join(above, name)))
    inside = str(folder).rstrip(os.sep) + os.sep
    outside = any(not path.startswith(inside) for path in whole)
    root = os.path.commonpath([os.path.split(path)[0] for path in whole]) if outside else str(folder)
    return Path(root), [os.path.relpath(path, root) for path in whole]


def _in_store(path: Path, paths: Sequence[str]) -> tuple[Path, list[str]]:
    """The same of pictures in an object store. Raises DataInvalid for others beside them, and for several buckets."""
    if beside := [text for text in paths if not is_url(text)]:
        raise DataInvalid(f"{path}: {safe(beside[0])} is a path, others are URLs; expected paths alone or URLs alone")
    objects = [found for text in paths if (found := stored(place(text))) is not None]
    buckets = sorted({one.parts[0] for one in objects})
    if len(buckets) > 1:
        raise DataInvalid(
            f"{path}: pictures in {len(buckets):,} buckets, {listed(buckets)}; expected one; list each by itself"
        )
    top = os.path.commonpath([str(one.parent.key) for one in objects])
    return place(f"{objects[0].scheme}://{top}"), [str(one.key.relative_to(top)) for one in objects]


def _once(rows: Sequence[_Row], path: Path, line: str) -> tuple[Sequence[_Row], list[str]]:
    """Each picture once, and a remark on lines that say the same again. Raises DataInvalid for one that says otherwise."""
    first, again = dict[str, _Row](), list[int]()
    for row in rows:
        before = first.setdefault(row.path, row)
        if before is row:
            continue
        for what in ("label", "kind", "group"):
            ours, theirs = getattr(row, what), getattr(before, what)
            if ours != theirs:
                word = "split" if what == "kind" else what
                raise DataInvalid(
                    f"{path}, {line} {row.line}: {safe(row.path)} has the {word} {safe(ours or 'none')}, on {line} "
                    f"{before.line} it is {safe(theirs or 'none')}; a picture has one"
                )
        again.append(row.line)
    if not again:
        return rows, []
    count = f"{len(again):,} {'line names' if len(again) == 1 else 'lines name'} a picture again"
    return list(first.values()), [f"{count} and {'counts' if len(again) == 1 else 'count'} once, first {line} {again[0]}"]


def _is_there(path: Path) -> bool:
    """Whether there is a file, or a link to one that may not be there."""
    return os.path.lexists(path) if stored(path) is None else path.exists()


def _lost(rows: Sequence[_Row], found: _List) -> str:
    """What is said of files that are not there."""
    gone = [row for row in rows if not _is_there(found.root / row.path)]
    if not gone:
        return ""
    more = f" ({len(gone):,} of {len(rows):,} pictures are not there)" if len(gone) > 1 else ""
    slash = ", which has a backslash: write / instead" if "\\" in gone[0].path else ""
    text = f"{found.path}, {found.line} {gone[0].line}: {safe(found.root / gone[0].path)}: no such file{slash}{more}"
    if len(gone) == len(rows):
        raise DataNotFound(f"{text}; paths are relative to the list's folder, {found.path.parent}")
    return text


def _taken(columns: dict[str, str], path: Path, wanted: Sequence[str]) -> str:
    """Which columns were taken, where they are not called as expected."""
    named = [f"{what} from the column {name}" for what, name in columns.items() if name != what]
    if "label" not in columns:
        named.append(f"no column of labels ({', '.join(LABELS[:4])})")
    return f"{path.name}: {', '.join(named)}" if named and not wanted else ""


def _of_groups(columns: dict[str, str]) -> list[str]:
    if "group" not in columns:
        return []
    return ["ids end in the picture's group: `train-head` keeps those of a group on one side of every division"]


def _of_root(root: Path, path: Path) -> list[str]:
    if root == path.parent:
        return []
    return [f"pictures lie outside of the list's folder: ids are their paths below {safe(root)}"]
