"""The memory of a quasi-Newton method: which way to go, by what the last steps told of the curvature."""

from collections.abc import Callable

import torch
from torch import Tensor

Inverse = Callable[[Tensor], Tensor]
"""Vectors (m, P) times a first guess of the inverse of the Hessian."""


class Memory:
    """L-BFGS over vectors (P,) with any first guess of the inverse Hessian, in the compact form: one product with all
    steps instead of two loops over them (R. H. Byrd, J. Nocedal and R. B. Schnabel, Representations of quasi-Newton
    matrices, Mathematical Programming 63, 1994, equation 3.1).

    Steps, the changes of the gradient along them and these times the guess lie in the rows of three matrices (most, P);
    when they are full, the oldest row is the next one written.
    """

    def __init__(self, size: int, most: int, like: Tensor) -> None:
        self._most = most
        self._steps, self._changes, self._guessed = (like.new_empty(most, size) for _ in range(3))
        self._cross, self._inner = like.new_zeros(most, most), like.new_zeros(most, most)
        self._order: list[int] = []

    def begin(self, inverse: Inverse, bend: Callable[[Tensor], Tensor]) -> None:
        """Take another guess; `bend` says by how much the Hessian times steps (m, P) is now more than it was."""
        used = len(self._order)
        steps, changes, guessed = self._steps[:used], self._changes[:used], self._guessed[:used]
        if used:
            changes += bend(steps)
            guessed.copy_(inverse(changes))
            torch.mm(steps, changes.T, out=self._cross[:used, :used])
            torch.mm(changes, guessed.T, out=self._inner[:used, :used])

    def learn(self, step: Tensor, change: Tensor, guessed: Tensor) -> None:
        """A step (P,) changed the gradient by `change` (P,), which times the guess is `guessed` (P,)."""
        if not step @ change > 0:
            return
        at = len(self._order) if len(self._order) < self._most else self._order.pop(0)
        self._order.append(at)
        used = len(self._order)
        self._steps[at], self._changes[at], self._guessed[at] = step, change, guessed
        self._cross[:used, at], self._cross[at, :used] = self._steps[:used] @ change, self._changes[:used] @ step
        self._inner[at, :used] = self._inner[:used, at] = self._changes[:used] @ guessed

    def direction(self, gradient: Tensor, guessed: Tensor) -> Tensor:
        """The way downhill (P,) from a point with this gradient (P,), which times the guess is `guessed` (P,)."""
        if not self._order:
            return -guessed
        used, order = len(self._order), torch.tensor(self._order, device=gradient.device)
        upper = self._cross[order][:, order].triu()
        if not (upper.diagonal() > 0).all():  # where a bent curvature fell below 0 by rounding
            self._order.clear()
            return -guessed
        along, across = (self._steps[:used] @ gradient)[order], (self._guessed[:used] @ gradient)[order]
        inner = torch.linalg.solve_triangular(upper, along[:, None], upper=True)[:, 0]
        right = upper.diagonal() * inner + self._inner[order][:, order] @ inner - across
        outer = torch.linalg.solve_triangular(upper.T, right[:, None], upper=False)[:, 0]
        place = torch.empty_like(order)
        place[order] = torch.arange(used, device=order.device)
        found = guessed + outer[place] @ self._steps[:used] - inner[place] @ self._guessed[:used]
        return -found if found @ gradient > 0 else -guessed
