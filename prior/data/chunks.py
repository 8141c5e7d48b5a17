"""Run one function over chunks of rows in processes; finished chunks survive an interruption."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from prior.data.files import read_json, write_json
from prior.errors import InputError

Task = TypeVar("Task")
log = logging.getLogger(__name__)


def run_chunks(
    work: Callable[[Task], Any], tasks: Sequence[Task], folder: Path, workers: int, label: str
) -> list[Any]:
    """Return `work(task)` of every task, in order.

    A result is kept as `<folder>/<label>-<i>.json` as soon as it is there and is not computed again.

    Args:
        work: module-level function; it returns something JSON can hold.
        tasks: one per chunk.
        folder: where finished results are kept; its name must identify the inputs.
        workers: processes; 1 runs here.
        label: what the progress bar and the files are called.

    Raises:
        InputError: a process was killed.
    """
    paths = [folder / f"{label}-{i:06d}.json" for i in range(len(tasks))]
    todo = [i for i, path in enumerate(paths) if not path.is_file()]
    done = len(tasks) - len(todo)
    if done:
        log.info("%s: %d of %d parts are there from an earlier run", label, done, len(tasks))
    with progress(label, len(tasks), done) as advance:
        for i, result in _compute(work, tasks, todo, workers):
            write_json(paths[i], result)
            advance()
    return [read_json(path) for path in paths]


def _compute(
    work: Callable[[Task], Any], tasks: Sequence[Task], todo: list[int], workers: int
) -> Iterator[tuple[int, Any]]:
    if workers <= 1 or len(todo) <= 1:
        for i in todo:
            yield i, work(tasks[i])
        return
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("forkserver")) as pool:
        futures: dict[Future[Any], int] = {pool.submit(work, tasks[i]): i for i in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
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
