"""Threads for models that run on the CPU."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def single_threaded_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool with one single-threaded worker per core.

    Running each batch on all cores would be slower: the cores would wait for each other at every layer,
    and for long when another program uses one of them.
    """
    import torch
    from joblib import cpu_count

    pool = ThreadPoolExecutor(cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
