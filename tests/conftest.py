"""Set before anything else is imported: threads, random numbers, hypothesis."""

from __future__ import annotations

import os
from collections.abc import Generator

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # read by BLAS when numpy is imported

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

import minidl  # noqa: E402
from minidl.cuda import nvrtc  # noqa: E402
from minidl.cuda.compiler import compiler  # noqa: E402

settings.register_profile(
    "repeatable",
    deadline=None,
    max_examples=30,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random numbers."""
    minidl.manual_seed(0)


@pytest.fixture
def with_nvrtc():
    """Skip where NVRTC is not installed, which is found when the test runs."""
    if not nvrtc.available():
        pytest.skip("NVRTC is not installed: pip install 'minidl[kernels]'")


@pytest.fixture
def with_compiler():
    """Skip where no compiler can build the emulator: for tests that see only what programs say."""
    compiler()  # what it raises is turned into a skip below


def _skipped_without_compiler() -> Generator[None, object, object]:
    """Skip, where there is no compiler, what asked for one."""
    try:
        return (yield)
    except minidl.errors.DeviceError as cause:
        reason = _no_compiler()
        if reason and reason in str(cause):
            pytest.skip(reason)
        raise


def _no_compiler() -> str:
    try:
        compiler()
    except minidl.errors.DeviceError as missing:
        return str(missing).splitlines()[0]
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Skip tests whose fixtures need the emulator where no compiler can build it."""
    return (yield from _skipped_without_compiler())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip tests that need the emulator where no compiler can build it."""
    return (yield from _skipped_without_compiler())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, saying so."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    try:
        minidl.ones(1, device="cuda")
    except minidl.errors.DeviceError as reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=str(reason).splitlines()[0]))
