"""Text from outside in a card: class names, ids and paths that may hold anything, as Markdown and as YAML.

In Markdown control characters are spelled out, as on a terminal, and whatever could be markup, HTML, a link or a mention is
escaped. In YAML a value is one quoted line that gives the text back when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.cache.text import safe

_MARKUP = re.compile(r"([\\`*_\[\]<>#!~&$@]|:(?=//|[\w+-]+:))")
"""What begins markup within a line: a colon a link or an emoji, a dollar sign a formula. A bar is left to `table`."""
_WORD = re.compile("[a-z][a-z0-9]*(-[a-z0-9.]+)*")
_NO_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
"""Words that YAML 1.1 reads as something else than text (https://yaml.org/type/bool.html)."""


def plain(text: object) -> str:
    """Text that Markdown shows as it is, in one line. It must not begin a line: a number and a dot would be a list."""
    return _MARKUP.sub(r"\\\1", safe(text)).replace("www.", r"www\.") or "(no name)"


def code(text: object) -> str:
    """Text as a span of code, in which nothing is markup."""
    found = safe(text) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", found)), default=0))
    space = " " if found[0] in "` " or found[-1] in "` " else ""
    return f"{fence}{space}{found}{space}{fence}"


def yaml(values: Mapping[str, Any]) -> str:
    """Words, texts, numbers, lists and mappings of them as YAML in blocks; the keys are words of ours."""
    return "\n".join(_block(values, ""))


def _block(value: Any, indent: str) -> list[str]:
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, own in value.items():
            nested = isinstance(own, Mapping | Sequence) and not isinstance(own, str)
            lines += [f"{indent}{key}:", *_block(own, f"{indent}  ")] if nested else [f"{indent}{key}: {_scalar(own)}"]
        return lines
    for own in value:
        inner = _block(own, f"{indent}  ") if isinstance(own, Mapping) else [f"{indent}  {_scalar(own)}"]
        lines += [f"{indent}- {inner[0].strip()}", *inner[1:]]
    return lines


def _scalar(value: str | float) -> str:
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) and value not in _NO_WORDS else f'"{"".join(map(_quoted, value))}"'
    return f"{value}" if isinstance(value, int) else f"{value:.6f}"  # YAML 1.1 reads 1e-05 as text


def _quoted(character: str) -> str:
    """A character within double quotes; half of a surrogate pair, which no file can hold, is spelled out as text."""
    number = ord(character)
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    if 0xD800 <= number <= 0xDFFF:
        return f"\\\\u{number:04x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
