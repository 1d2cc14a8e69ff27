"""Data sets of the Hugging Face hub: `hf:OWNER/NAME`, whose Parquet files are downloaded and read as `parquet:` reads them.

`/CONFIG` after the name is one of its folders, `@REVISION` a branch or commit (`@refs/convert/parquet` is the hub's own
conversion), `#image,label` names columns. Nothing but Parquet files is fetched, so no script of a data set can run. Needs
huggingface_hub, the extra `hf`. https://huggingface.co/docs/huggingface_hub/guides/download
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.cache.files import make_folder
from headstart.core.cache.text import listed, safe
from headstart.core.extract.config import Download
from headstart.core.extract.datasets import parquet
from headstart.core.extract.images import Images
from headstart.core.extract.images.packed import PackedImages
from headstart.core.extract.pictures.layout import kind

ARGUMENT = "OWNER/NAME"
_PART = r"\w[\w.-]*"
_ASKED = re.compile(rf"(?P<parts>{_PART}(?:/{_PART}){{0,2}})(?:@(?P<revision>{_PART}(?:/{_PART})*))?(?:#(?P<columns>.+))?")
_WHOLE = ".whole"
"""The file that says that a download came to its end."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is asked for: the repository, a folder of it ("" is all), its revision and columns as they were written."""

    repository: str
    config: str
    revision: str
    columns: str

    @property
    def called(self) -> str:
        """All of it as a name, from which `asked` makes it again."""
        parts = "--".join(filter(None, (self.repository.replace("/", "--"), self.config)))
        mark = f"#{self.columns}" if self.columns else ""
        return f"{parts}{self._at}{mark}"

    @property
    def _at(self) -> str:
        return f"@{self.revision.replace('/', '--')}" if self.revision else ""

    def folder(self, data_dir: Path) -> Path:
        """Where its files lie once they are downloaded."""
        return data_dir / "hf" / dataclasses.replace(self, columns="").called


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` as far as its files are named so, or `all`; it is downloaded for that. Raises DataNotFound."""
    return parquet.splits(str(_downloaded(_asked(argument), data_dir)), data_dir)


def lacking(argument: str, data_dir: Path) -> Download | None:
    """The set, where it was not downloaded."""
    asked = _asked(argument)
    folder = asked.folder(data_dir)
    if (folder / _WHOLE).is_file():
        return None
    return Download(f"hf:{argument}", f"https://huggingface.co/datasets/{asked.repository}", folder)


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """One split, downloaded if it is not there. Raises DataNotFound, DataInvalid."""
    asked = _asked(argument)
    folder = _downloaded(asked, data_dir)
    place = f"{folder}#{asked.columns}" if asked.columns else str(folder)
    found = cast(PackedImages, parquet.open_split(place, split, data_dir))
    return dataclasses.replace(found, name=f"hf-{asked.called}", top=None)


def _asked(argument: str) -> _Asked:
    """The parts of an argument, or of a name that was made of one. Raises ArgumentInvalid."""
    name, mark, columns = argument.partition("#")
    found = _ASKED.fullmatch(name.replace("--", "/") + mark + columns)
    if found is None:
        raise ArgumentInvalid(
            f"--dataset hf:{safe(argument)}: no name of a data set; expected hf:OWNER/NAME, hf:OWNER/NAME/CONFIG@REVISION"
        )
    parts = found["parts"].split("/")
    return _Asked("/".join(parts[:2]), "/".join(parts[2:]), found["revision"] or "", found["columns"] or "")


def _downloaded(asked: _Asked, data_dir: Path) -> Path:
    """The folder with the set's Parquet files, after a download where they are not all there. Raises DataNotFound."""
    folder = asked.folder(data_dir)
    if (folder / _WHOLE).is_file():
        return folder
    hub, revision = _hub(), asked.revision or None
    try:
        there = hub.HfApi().list_repo_files(asked.repository, repo_type="dataset", revision=revision)
        names = _wanted(asked, there)
        make_folder(folder)
        hub.snapshot_download(
            asked.repository, repo_type="dataset", revision=revision, allow_patterns=names, local_dir=folder
        )
    except (DataNotFound, DataInvalid):
        raise
    except Exception as error:  # the hub's own errors, those of its HTTP library in any version, and the file system's
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataNotFound(
            f"hf:{asked.repository}: can't be downloaded to {folder} ({reason}); put its Parquet files anywhere and use "
            f"--dataset parquet:PATH, or try --dataset digits, which needs no download"
        ) from error
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise DataNotFound(f"{folder}: {listed(gone)} did not come with the download; start it again")
    (folder / _WHOLE).touch()
    return folder


def _wanted(asked: _Asked, there: Sequence[str]) -> list[str]:
    """The files to fetch. Raises DataNotFound, DataInvalid where there are none, several sets, or a part of one only."""
    names = [name for name in there if name.lower().endswith(".parquet")]
    names = [name for name in names if not asked.config or name.startswith(f"{asked.config}/")]
    where = (
        f"hf:{asked.repository}{f'/{asked.config}' if asked.config else ''}{f'@{asked.revision}' * bool(asked.revision)}"
    )
    if not names:
        other = "" if asked.revision else f"; hf:{asked.repository}@refs/convert/parquet may have the hub's own conversion"
        raise DataNotFound(f"{where}: has no Parquet files among {len(there):,}{other}")
    if part := [name for name in names if "partial-" in name]:
        raise DataInvalid(
            f"{where}: {safe(part[0])} is a part of the set only, as the hub converts large ones; take another"
        )
    configs = sorted({name.split("/")[0] for name in names if "/" in name} - {"data"})
    configs = [name for name in configs if kind(name) is None]
    if not asked.config and len(configs) > 1:
        raise DataInvalid(f"{where}: holds {listed(configs)}; say which one: hf:{asked.repository}/{configs[0]}")
    return names


def _hub() -> ModuleType:
    """The hub's library. Raises DataNotFound where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataNotFound("the hub's data sets need huggingface_hub: pip install 'headstart[hf]'") from error
    found: ModuleType = huggingface_hub
    return found
