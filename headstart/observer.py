"""What happens while the tool works, told to whoever wants to know: a terminal, a notebook, or nobody.

The joins print nothing. They call an `Observer`, whose methods do nothing here: a subclass shows what it cares for.
"""


class Observer:
    """Told how the work goes. This one is silent, and the base of those that are not.

    It is an `extract.job.Observer` too. All methods are called from the thread that called the join.
    """

    def note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def begin(self, title: str, rows: int, done: int) -> None:
        """Work on `rows` rows starts, `done` of which are there already."""

    def advance(self, rows: int) -> None:
        """`rows` more are done; below 0 where rows are done anew."""

    def end(self) -> None:
        """The work announced by `begin` is over."""


SILENT = Observer()
