"""The rooms `cache`, `extract` and `heads`, and the command line, `cli`.

An installed package holds them in this folder. A checkout has them at its root, where they are looked for then: so both
have the same module names, and `headstart` is the one top-level name that an installation takes.
"""

from pathlib import Path

_HERE = Path(__file__).parent
if not (_HERE / "cache").is_dir():
    __path__.append(str(_HERE.parents[1]))
