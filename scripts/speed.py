"""How fast a Python is: prints the CPU microseconds that it needs for a loop of calls, attributes and dictionaries.

Fails where Headrace does not run on it.
"""

import ssl  # noqa: F401  half-installed Pythons lack these
import sys
import time
import venv  # noqa: F401


class Point:
    def __init__(self, value: int) -> None:
        self.value = value

    def add(self, table: dict[bytes, int], key: bytes) -> None:
        table[key] = self.value + len(key)


def loop() -> None:
    table: dict[bytes, int] = {}
    for number in range(4000):
        Point(number).add(table, b"%d" % (number % 97))


def microseconds() -> int:
    """The least of nine, so that what else runs on the machine does not count."""
    taken = []
    for _ in range(9):
        began = time.process_time()
        loop()
        taken.append(time.process_time() - began)
    return int(min(taken) * 1e6)


if __name__ == "__main__":
    if not ((3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32):
        sys.exit(1)
    print(microseconds())
