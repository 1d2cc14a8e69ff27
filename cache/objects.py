"""An object store's objects and prefixes as places, which answer what is asked of pathlib's about features and pictures.

The client is fsspec's (s3fs). Its own paths (universal_pathlib) are not used: their `is_dir` and `glob` take a request that
failed for "nothing is there", after which all features would be computed again.
"""

import contextlib
import dataclasses
import datetime
import errno
import fnmatch
import functools
import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Self

from headstart.core.cache.errors import ArgumentInvalid, HeadstartError

STORES: Mapping[str, tuple[str, str]] = {"s3": ("s3fs", "s3")}
"""The stores by their URLs' scheme: the module of the client, and the extra that installs it. One is listed here when its
exclusive creation, on which the locks are built, was tested against a server."""
_CONNECTIONS = 32
"""Requests at a time: pictures are read by threads."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What a listing says of an object, or of a prefix, which has no size, time or tag."""

    name: str
    is_folder: bool
    nbytes: int = 0
    modified: datetime.datetime | None = None
    tag: str = ""

    @property
    def facts(self) -> tuple[int, int, int, int]:
        """As those of a file, which are size, modification time, change time and inode. The tag, which names the content,
        stands for the second and the last: like these it stays where an object gets another name."""
        modified = 0 if self.modified is None else int(self.modified.timestamp()) * 10**9
        mark = hashlib.sha256(self.tag.strip('"').encode()).digest()
        first, second = (int.from_bytes(mark[at : at + 8], "big") >> 1 for at in (0, 8))
        return self.nbytes, first, modified, second


class Listing:
    """What a store said of the objects right below `top` and its prefixes, each of which was listed once. What is above may
    hold other people's objects, or be closed to us. Another process lists anew."""

    def __init__(self, top: PurePosixPath) -> None:
        self.top = top
        self._found: dict[ObjectPath, dict[str, Entry]] = {}

    def __reduce__(self) -> "tuple[type[Listing], tuple[PurePosixPath]]":
        return Listing, (self.top,)

    def below(self, path: "ObjectPath") -> Mapping[str, Entry]:
        """The entries right below a prefix by name, in their order. Raises OSError."""
        if path not in self._found:
            self._found[path] = {entry.name: entry for entry in dataclasses.replace(path, listing=None).entries()}
        return self._found[path]


@dataclasses.dataclass(frozen=True, order=True)
class ObjectPath:
    """An object of a store or a prefix, by bucket and key. A store has no folders: a prefix is one while it has objects.

    Every question is a request, and no answer is kept, since another machine may have changed it; unless the place is
    `listed`. Each may raise OSError, which says what, where, and what to do; a question whose request failed is never
    answered with no.
    """

    scheme: str
    key: PurePosixPath
    listing: Listing | None = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __truediv__(self, name: str | PurePosixPath) -> Self:
        return dataclasses.replace(self, key=self.key / name)

    def listed(self) -> Self:
        """The same place, where what is below it stays as it was when first asked for: for thousands of pictures."""
        return dataclasses.replace(self, listing=Listing(self.key))

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self.key.stem

    @property
    def suffix(self) -> str:
        """The last part's suffix, with the dot."""
        return self.key.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket and the parts of the key."""
        return self.key.parts

    @property
    def parent(self) -> Self:
        """The prefix that it is below; a bucket's is the bucket."""
        return self if len(self.key.parts) == 1 else dataclasses.replace(self, key=self.key.parent)

    def with_name(self, name: str) -> Self:
        """Beside it, under another name."""
        return dataclasses.replace(self, key=self.key.with_name(name))

    def relative_to(self, other: "ObjectPath") -> PurePosixPath:
        """What follows `other`. Raises ValueError where it is not below that."""
        return self.key.relative_to(other.key)

    def expanduser(self) -> Self:
        """Itself: a key may begin with a tilde."""
        return self

    absolute = resolve = expanduser

    def is_symlink(self) -> bool:
        """No: a store has none."""
        return False

    def entry(self) -> Entry | None:
        """What is said of it; None where there is no such object, nor any below it."""
        if self.listing is not None and self.listing.top in self.key.parents:
            return self.listing.below(self.parent).get(self.name)
        try:
            with _told(self):
                return _entry(self._client.info(str(self.key)))
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Whether it is an object or a prefix with objects."""
        return self.entry() is not None

    def is_file(self) -> bool:
        """Whether it is an object."""
        found = self.entry()
        return found is not None and not found.is_folder

    def is_dir(self) -> bool:
        """Whether it is a prefix with objects. An empty bucket is one too."""
        found = self.entry()
        return found is not None and found.is_folder

    def entries(self) -> list[Entry]:
        """The objects and prefixes right below it, by name; none where there is nothing. Raises OSError where the bucket is
        not there."""
        if self.listing is not None:
            return list(self.listing.below(self).values())
        try:
            with _told(self):
                found = self._client.ls(str(self.key), detail=True)
        except FileNotFoundError:
            return []
        inside = f"{self.key}/"  # an object of this very name, or one that stands for the empty folder, is not below it
        below = [one for one in found if one["name"].startswith(inside) and one["name"] != inside]
        return sorted((_entry(one) for one in below), key=lambda one: one.name)

    def iterdir(self) -> Iterator[Self]:
        """The paths of the entries."""
        return (self / entry.name for entry in self.entries())

    def glob(self, pattern: str) -> Iterator[Self]:
        """The paths below that match, as pathlib's `glob` has them; without `**`."""
        first, _, rest = pattern.partition("/")
        for entry in self.entries():
            if fnmatch.fnmatchcase(entry.name, first) and (entry.is_folder or not rest):
                yield from (self / entry.name).glob(rest) if rest else [self / entry.name]

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; one that is not there is no error in a store."""
        with contextlib.suppress(FileNotFoundError), _told(self):
            self._client.rm_file(str(self.key))

    def rmdir(self) -> None:
        """Nothing: a prefix goes with its last object."""

    def read(self, most: int) -> bytes:
        """The bytes of the object, all of one version, in one request. Raises ValueError for more than `most`."""
        try:
            with _told(self):
                content = bytes(self._client.cat_file(str(self.key), start=0, end=most + 1))
        except OSError as error:
            if error.errno == errno.EINVAL and (entry := self.entry()) is not None and entry.nbytes == 0:
                return b""  # of which no byte can be asked for
            raise
        if len(content) > most:
            raise ValueError(f"has more than {most:,} bytes")
        return content

    def write(self, content: bytes, *, new: bool = False) -> None:
        """Put the object: whoever reads it has the old bytes or all of these. Above 100 MB it goes in parts, and is there
        when the last one is. Only a `new` one where that is asked for: raises FileExistsError then."""
        with _told(self):
            self._client.pipe_file(str(self.key), content, mode="create" if new else "overwrite")

    @property
    def _client(self) -> Any:
        module, extra = STORES[self.scheme]
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ArgumentInvalid(f"{self}: {self.scheme}:// needs {module}; pip install 'headstart[{extra}]'") from error
        return _client(self.scheme, os.getpid())


@functools.lru_cache(maxsize=8)
def _client(scheme: str, process: int) -> Any:
    """The client of a store in this process. It remembers no listings: what another machine wrote would not be seen."""
    import fsspec

    more = {"max_pool_connections": _CONNECTIONS}
    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, config_kwargs=more)


def _entry(found: Mapping[str, Any]) -> Entry:
    name = PurePosixPath(found["name"]).name
    if found["type"] == "directory":
        return Entry(name, True)
    return Entry(name, False, int(found["size"]), found.get("LastModified") or None, str(found.get("ETag", "")))


@contextlib.contextmanager
def _told(path: ObjectPath) -> Iterator[None]:
    """What the client raises, as OSError with the URL and what to do. It raises its libraries' errors too, of which many
    are no OSError."""
    try:
        yield
    except HeadstartError:
        raise
    except Exception as error:
        raise _said(error, path) from error


def _said(error: Exception, path: ObjectPath) -> OSError:
    """An error of the client in words."""
    code, kinds = _code(error), {kind.__name__ for kind in type(error).__mro__}
    text, number = _short(str(error)), getattr(error, "errno", None) or errno.EIO
    what = f"the store says: {text or type(error).__name__}"
    if code == "NoSuchBucket":
        bucket = f"{path.scheme}://{path.parts[0]}"
        number, what = errno.ENXIO, f"there is no bucket {bucket}; make it with the store's own tools, or name another"
    elif "FileNotFoundError" in kinds:
        number, what = errno.ENOENT, "no such object"
    elif "FileExistsError" in kinds or code in _EXISTS:
        number, what = errno.EEXIST, "is there already"
    elif "NoCredentialsError" in kinds:
        number, what = errno.EACCES, f"no credentials for the store; {_CREDENTIALS}"
    elif "PermissionError" in kinds:
        number, what = errno.EACCES, f"the store refuses this ({text}); {_CREDENTIALS}, and what they allow"
    elif not code and (kinds & _UNREACHABLE or text.startswith("Invalid endpoint")):
        number, what = errno.EHOSTUNREACH, f"the store can't be reached ({text}); {_ENDPOINT}"
    return OSError(number, what, str(path))


_EXISTS = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict", "409"))
"""The answers to the creation of what is there; the last two where another one creates it at this moment."""
_UNREACHABLE = frozenset(("ConnectionError", "HTTPClientError", "InvalidEndpoint", "ClientError", "TimeoutError"))
_CREDENTIALS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_ENDPOINT = "check the network and, for another store than Amazon's, AWS_ENDPOINT_URL"


def _short(text: str) -> str:
    """A client's message in one line, without what follows its first two hundred characters."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"


def _code(error: BaseException) -> str:
    """The store's own word for an error, as in https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""
