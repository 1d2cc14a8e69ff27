"""Files of the Hugging Face Hub: found in its cache or downloaded into it, as files and no more; we read them ourselves.

What is in the cache is used as it is, so that a moved `main` changes nothing; the commit that a file is of is recorded.
"""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from headstart.core.cache.errors import WeightsNotFound
from headstart.core.extract.backbones import HubFile


def cache_folder() -> Path:
    """huggingface_hub's folder, by the same environment variables as they are now: it reads them when it is imported."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", os.path.join(cache, "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", os.path.join(home, "hub"))).expanduser()


def here(file: HubFile) -> Path | None:
    """The file in the cache; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache

    for name in file.files:
        found = try_to_load_from_cache(file.repository, name, cache_dir=cache_folder(), revision=file.revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(file: HubFile, ways_out: str) -> Path:
    """The file, downloaded where it is not in the cache yet. Raises WeightsNotFound with the ways out."""
    if (found := here(file)) is not None:
        return found
    found, reason = (None, offline) if (offline := _offline()) else _downloaded(file)
    if found is not None:
        return found
    raise WeightsNotFound(f"{file.url}: not in {cache_folder()}, and it can't be downloaded ({reason}); {ways_out}")


def _downloaded(file: HubFile) -> tuple[Path | None, str]:
    """The first of the files that the repository has; None, and why there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in file.files:
        try:
            folder, revision = cache_folder(), file.revision or None
            return Path(hf_hub_download(file.repository, name, cache_dir=folder, revision=revision)), ""
        except LocalEntryNotFoundError as error:  # no connection, or told to be offline: no other name will help
            return None, _short(error.__cause__ or error)
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:  # no such repository, or one that asks for a login
            return None, _short(error)
    return None, f"it has none of {', '.join(file.files)}"


def _offline() -> str:
    """Why the hub can't be reached; "" where it can. huggingface_hub itself tries six times, which takes half a minute, and
    writes a line each time. Behind a proxy nothing is known before it is asked."""
    from huggingface_hub import constants

    place = urllib.parse.urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or place.scheme in urllib.request.getproxies():
        return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    try:
        with socket.create_connection((str(place.hostname), place.port or 443), timeout=10):
            return ""
    except OSError as error:
        return f"{place.hostname}: {error.strerror or error}"


def address(file: HubFile, path: Path) -> str:
    """Where a file in the cache came from, with the commit, which is the name of the folder that it is in."""
    return f"{file.url}/resolve/{path.parent.name}/{path.name}"


def _short(error: BaseException) -> str:
    lines = str(error).split("\n")
    return f"{type(error).__name__}: {lines[0][:160]}".rstrip(": ")
