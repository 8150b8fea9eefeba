import pytest

from benchmarks.gateway.columns import COLUMNS, PACED_MODEL, Column, select


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.key)
def test_a_column_can_be_chosen_alone(column: Column) -> None:
    assert column in select(None)
    assert select(column.key) == (column,)


def test_streams_are_paced_and_checked_for_completeness() -> None:
    (stream,) = select("stream")
    flags = stream.arguments(quick=False)
    assert {"-stream", "-check"} <= set(flags)
    assert flags[flags.index("-c") + 1] == "100"
    assert flags[flags.index("-model") + 1] == PACED_MODEL


def test_json_requests_come_from_32_clients_and_do_not_stream() -> None:
    (column,) = select("json")
    flags = column.arguments(quick=False)
    assert "-stream" not in flags
    assert flags[flags.index("-c") + 1] == "32"


def test_quick_asks_for_less() -> None:
    for column in select(None):
        quick, full = (column.arguments(quick=quick) for quick in (True, False))
        assert int(quick[quick.index("-n") + 1]) < int(full[full.index("-n") + 1])
