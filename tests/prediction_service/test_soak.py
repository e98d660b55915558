"""A short soak; benchmarks/serve_soak.py is the long one."""

from benchmarks.serve_soak import soak

SECONDS = 12
# Arenas of the allocator still fill in the first seconds.
MAX_GROWTH = 1.25


def test_no_fault_and_no_runaway_memory(tmp_path):
    result = soak(tmp_path, SECONDS)
    assert result["faults"] == []
    assert all(result["rounds"].values()), result["rounds"]
    assert result["growth"] < MAX_GROWTH, result["own_megabytes"]
