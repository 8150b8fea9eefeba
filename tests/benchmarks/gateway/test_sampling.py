from benchmarks.gateway import sampling


def test_functions_are_ranked_by_their_own_time() -> None:
    stacks = ["loop;handler;encode 30", "loop;handler 10", "loop;write 60"]
    rows = [line.split() for line in sampling.ranking(stacks, 20.0).splitlines()[1:]]
    assert rows == [["12.00", "12.00", "write"], ["6.00", "6.00", "encode"], ["2.00", "8.00", "handler"]]


def test_a_recursive_function_is_counted_once_per_stack() -> None:
    (row,) = [line.split() for line in sampling.ranking(["walk;walk;walk 5"], 10.0).splitlines()[1:]]
    assert row == ["10.00", "10.00", "walk"]


def test_nothing_sampled_is_an_empty_ranking() -> None:
    assert len(sampling.ranking([], 10.0).splitlines()) == 1
