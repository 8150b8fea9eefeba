"""Recursive least squares with forgetting: a linear model that learns one observation at a time.

The textbook form (e.g. Haykin, "Adaptive filter theory", ch. 10) with a variable forgetting factor (after Fortescue et
al., 1981): a surprise means that the past is worth less. Three additions keep it sane on traffic:
errors count relative to what was expected (a second more is much for 0.1 s and little for 10), one observation counts
as four times the expectation at most, and coefficients stay at 0 or above, since nothing here makes an answer faster.
"""

from __future__ import annotations

from collections.abc import Sequence

_FORGET = 0.99
"""Weight of the past at each observation: about the last hundred count."""
_FORGET_FAST = 0.8
_SURPRISE = 0.7
"""The same where it was wrong by more than this share of the expectation."""
_LEAST_SECONDS = 0.01
_MOST_ERROR = 3.0


class LeastSquares:
    """``expect(x)`` is the scalar product of ``coefficients`` and ``x``."""

    __slots__ = ("_spread", "_trace", "coefficients", "count")

    def __init__(self, coefficients: Sequence[float], doubt: Sequence[float]) -> None:
        """What is believed before any observation, and the standard deviation of each of these beliefs."""
        self.coefficients = list(coefficients)
        self.count = 0
        """Observations that it learned from."""
        size = len(doubt)
        self._spread = [[doubt[row] ** 2 if row == column else 0.0 for column in range(size)] for row in range(size)]
        self._trace = sum(self._spread[index][index] for index in range(size))

    def expect(self, inputs: Sequence[float]) -> float:
        return sum([a * b for a, b in zip(self.coefficients, inputs, strict=True)])

    def learn(self, inputs: Sequence[float], outcome: float) -> None:
        """``outcome`` was seen where ``inputs`` were."""
        self.count += 1
        expected = self.expect(inputs)
        scale = 1.0 / max(expected, _LEAST_SECONDS)
        x = [value * scale for value in inputs]
        error = max(-_MOST_ERROR, min(_MOST_ERROR, (outcome - expected) * scale))
        spread = self._spread
        reach = [sum([a * b for a, b in zip(row, x, strict=True)]) for row in spread]
        known = sum([a * b for a, b in zip(reach, x, strict=True)])
        forget = _FORGET if -_SURPRISE < error < _SURPRISE else _FORGET_FAST
        if sum([row[index] for index, row in enumerate(spread)]) >= self._trace:
            forget = 1.0  # where nothing new is seen the spread would grow without end
        gain = 1.0 / (forget + known)
        step = error * gain
        self.coefficients = [max(0.0, a + step * b) for a, b in zip(self.coefficients, reach, strict=True)]
        kept = 1.0 / forget
        for row, pull in zip(spread, reach, strict=True):
            part = pull * gain
            row[:] = [(a - part * b) * kept for a, b in zip(row, reach, strict=True)]
