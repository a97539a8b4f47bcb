"""Work spread over the cores of the CPU.

NumPy lets go of Python's lock while it copies and multiplies, so plain threads
run in parallel. Each works on tasks of its own (images, blocks of rows) with a
single-threaded BLAS: many matrix products side by side beat one that all
cores share, and the copies around them run in parallel too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # both are imported when the first work is spread
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import ThreadpoolController

Task = TypeVar("Task")
Result = TypeVar("Result")


@cache
def count() -> int:
    """Return the number of threads: MINIDL_THREADS, or the cores this process may use."""
    wanted = os.environ.get("MINIDL_THREADS")
    if wanted:
        return max(int(wanted), 1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count(), thread_name_prefix="minidl")


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def blas_alone() -> Iterator[None]:
    """Let BLAS use one thread in a ``with`` block, as the many that call it require."""
    used = [(library, library.num_threads) for library in _blas().lib_controllers]
    many = [(library, threads) for library, threads in used if threads != 1]
    for library, _ in many:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in many:
            library.set_num_threads(threads)


def each(
    work: Callable[[Task], Result], tasks: Iterable[Task], alone: bool = False
) -> list[Result]:
    """Do ``work`` on every task, in parallel; the results are in the order of the tasks.

    With ``alone`` (or on one core) the calling thread does it all. Handing work
    over costs some ten microseconds, so tasks travel in groups, few enough for
    that not to matter, and enough for the threads to end together.
    """
    todo = list(tasks)
    if alone or count() == 1 or len(todo) < 2:
        return [work(task) for task in todo]
    size = -(-len(todo) // (4 * count()))
    groups = [todo[i : i + size] for i in range(0, len(todo), size)]
    with blas_alone():
        done = _pool().map(lambda group: [work(task) for task in group], groups)
        return [result for group in done for result in group]


def _forget_pool() -> None:
    """Let a forked child start threads of its own: it has none of its parent's."""
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
