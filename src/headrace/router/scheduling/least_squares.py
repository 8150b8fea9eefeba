"""Recursive least squares with forgetting: a linear model that learns one observation at a time.

The textbook form (e.g. Haykin, "Adaptive filter theory", ch. 10) with a variable forgetting factor (after Fortescue et
al., 1981): surprises in a row mean that the past is worth less. Three additions keep it sane on traffic:
errors count relative to what was expected (a second more is much for 0.1 s and little for 10), one observation counts
as twice the expectation at most, and coefficients stay at 0 or above, since nothing here makes an answer faster.
"""

from __future__ import annotations

from collections.abc import Sequence

_FORGET = 0.99
"""Weight of the past at each observation: about the last hundred count."""
_FORGET_FAST = 0.8
_SURPRISE, _IN_A_ROW = 0.7, 3
"""The same where so many observations in a row were wrong by more than this share of the expectation, all one way."""
_LEAST_SECONDS = 0.01
_MOST_ERROR = 1.0


class LeastSquares:
    """``expect(x)`` is the scalar product of ``coefficients`` and ``x``."""

    __slots__ = ("_doubt", "_row", "_spread", "_trace", "coefficients", "count")

    def __init__(self, coefficients: Sequence[float], doubt: Sequence[float]) -> None:
        """What is believed before any observation, and the standard deviation of each of these beliefs."""
        self.coefficients = list(coefficients)
        self.count = 0
        """Observations that it learned from."""
        self._row = 0
        """Surprises in a row; negative where answers came sooner than expected."""
        self._doubt = tuple(value**2 for value in doubt)
        self._trace = sum(self._doubt)
        self._spread: list[list[float]] = []
        self._doubt_again()

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
        forget = self._forget(error)
        if sum([row[index] for index, row in enumerate(spread)]) >= self._trace:
            forget = 1.0  # where nothing new is seen the spread would grow without end
        gain = 1.0 / (forget + known)
        step = error * gain
        self.coefficients = [max(0.0, a + step * b) for a, b in zip(self.coefficients, reach, strict=True)]
        kept = 1.0 / forget
        # Mirrored, not computed twice: rounding would make it lopsided, and forgetting lets that grow until it diverges
        for index, row in enumerate(spread):
            part = reach[index] * gain
            for column in range(index, len(row)):
                row[column] = spread[column][index] = (row[column] - part * reach[column]) * kept
        if min([row[index] for index, row in enumerate(spread)]) <= 0.0:
            self._doubt_again()

    def _doubt_again(self) -> None:
        """Be as unsure as at the beginning."""
        size = len(self._doubt)
        self._spread = [
            [value if row == column else 0.0 for column in range(size)] for row, value in enumerate(self._doubt)
        ]

    def _forget(self, error: float) -> float:
        """Weight of the past. One surprise is an outlier; several, all one way, are a change."""
        if -_SURPRISE < error < _SURPRISE:
            self._row = 0
        elif error > 0:
            self._row = max(self._row, 0) + 1
        else:
            self._row = min(self._row, 0) - 1
        return _FORGET_FAST if abs(self._row) >= _IN_A_ROW else _FORGET
