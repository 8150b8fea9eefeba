"""A wait that ends at once."""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Handoff(Generic[T]):
    """Where one task waits, again and again, for what a protocol hands to it.

    A future wakes its task in the loop's next turn: that is a handle, and a call of the system to poll, for every wait
    of every request. Here the task goes on inside ``set``, before ``set`` returns, unless another task is running.

    To ``asyncio.Task`` it is a future: the task finds ``_loop`` and ``_asyncio_future_blocking`` and leaves a callback
    (docs.python.org/3/library/asyncio-extending.html). One task may wait at a time.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_error", "_full", "_loop", "_value", "_wake")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._wake: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._full = False
        self._error: BaseException | None = None
        self._value: T

    def set(self, value: T) -> None:
        """Hand ``value`` over, at once or, if nobody waits yet, to the next one who does."""
        self._value = value
        self._full = True
        wake, context = self._wake, self._context
        if wake is None or context is None:
            return
        self._wake = None
        try:
            context.run(wake, self)
        except RuntimeError:  # another task is running, and asyncio lets none begin inside it
            self._loop.call_soon(wake, self, context=context)

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` where a value is waited for, in the loop's next turn: whoever fails us may be in our task."""
        self._error = error
        self._full = True
        self._wake_soon()

    def __await__(self) -> Generator[Any, None, T]:
        try:
            if not self._full:
                self._asyncio_future_blocking = True
                yield self
        finally:
            error, self._error, self._full = self._error, None, False
        if error is not None:
            raise error
        return self._value

    def _wake_soon(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            self._loop.call_soon(wake, self, context=self._context)

    # ---- what asyncio.Task asks of a future ----

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context) -> None:
        self._wake = wake
        self._context = context

    result: Callable[[], None] = staticmethod(type(None))
    """Asked when the task wakes, and tells nothing: what there is, value or error, it finds in ``__await__``."""

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled while it waits."""
        if self._full:
            return False  # it is about to wake: the task itself remembers then that it was cancelled
        self.fail(CancelledError() if msg is None else CancelledError(msg))
        return True
