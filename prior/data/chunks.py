"""Run one function over chunks of rows in processes; finished chunks survive an interruption."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from prior.data.files import read_json, write_json
from prior.errors import InputError

Task = TypeVar("Task")
AHEAD = 4
"""Tasks per process that are under way."""

log = logging.getLogger(__name__)


def run_chunks(
    work: Callable[[Task], Any], tasks: Iterable[Task], count: int, folder: Path, workers: int, label: str
) -> Iterator[Any]:
    """Yield `work(task)` of every task, in order, once all are done.

    A result is kept as `<folder>/<label>-<i>.json` as soon as it is there and is not computed again; few
    tasks and one result are held at a time.

    Args:
        work: module-level function; it returns something JSON can hold.
        tasks: one per chunk.
        count: how many tasks there are.
        folder: where finished results are kept; its name must identify the inputs.
        workers: processes; 1 runs here.
        label: what the progress bar and the files are called.

    Raises:
        InputError: a process was killed.
    """
    paths = [folder / f"{label}-{i:06d}.json" for i in range(count)]
    todo = {i for i, path in enumerate(paths) if not path.is_file()}
    done = count - len(todo)
    if done:
        log.info("%s: %d of %d parts are there from an earlier run", label, done, count)
    with progress(label, count, done) as advance:
        left = ((i, task) for i, task in enumerate(tasks) if i in todo)
        for i, result in _compute(work, left, min(workers, len(todo))):
            write_json(paths[i], result)
            advance()
    for path in paths:
        yield read_json(path)


def _compute(
    work: Callable[[Task], Any], tasks: Iterator[tuple[int, Task]], workers: int
) -> Iterator[tuple[int, Any]]:
    if workers <= 1:
        for i, task in tasks:
            yield i, work(task)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        waiting: dict[Future[Any], int] = {}
        try:
            while True:
                for i, task in islice(tasks, AHEAD * workers - len(waiting)):
                    waiting[pool.submit(work, task)] = i
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, most likely for want of memory; run again with fewer workers "
                "(what is finished is kept)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def progress(label: str, total: int, done: int) -> Iterator[Callable[[], None]]:
    """Yield a function that advances a progress bar; nothing is drawn outside a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda: bar.advance(task)
