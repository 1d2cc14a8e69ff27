"""Messages as a Python caller understands them: what the command line calls `--batch-size` is `batch_size` here."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from headstart.core.cache.errors import HeadstartError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_COMMAND = re.compile(r"(`[^`]*`)")
_VALUE = re.compile(
    r"--(on-error|executor|device|precision|engine|weights|dataset|test-fraction) "
    r"(fail|skip|local|processes|array|ray|auto|cpu|mps|(?:cuda|xpu)(?::\w+)?|bf16|fp16|fp32|tf32|eager|compiled|random(?::\w+)?|digits|[0-9.]*[0-9])"
    r"(?![\w.])"
)
_FLAG = re.compile(r"--(force|no-splits)\b")
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


def in_python(text: str) -> str:
    """A message with arguments instead of options: `--on-error skip` as on_error='skip', `--force` as force=True. What
    stands between backticks is a command to run in a shell, and stays."""
    parts = _COMMAND.split(text)
    return "".join(part if place % 2 else _said(part) for place, part in enumerate(parts))


def _said(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        quote = "" if found[1] == "test-fraction" else "'"
        return f"{found[1].replace('-', '_')}={quote}{found[2]}{quote}"

    text = _FLAG.sub(lambda found: f"{found[1].replace('-', '_')}=True", _VALUE.sub(value, text))
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), text)


def spoken(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, with the messages of its known errors as a Python caller understands them."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except HeadstartError as error:
            error.args = (in_python(str(error)), *error.args[1:])
            raise

    return call
