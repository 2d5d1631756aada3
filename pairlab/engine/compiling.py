"""Compilation of the kernels, for who has a thread for it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["compile_kernel"]


def compile_kernel(
    progress: Callable[[str], None] | None = None, *, many_pairs: bool = False
) -> None:
    """Compile the kernels that are not in numba's cache yet; blocks, so call it in a thread.

    Parameters
    ----------
    progress : callable, optional
        Called with a line of text before each step.
    many_pairs : bool
        Whether the kernel of `pairlab.engine.many_pairs` is needed, too.
    """
    say = progress or (lambda text: None)
    say("loading the compiler")
    from pairlab.engine import jit, kernel

    steps: list[Callable[[], object]] = [
        kernel.kernel_gil,
        kernel.kernel_nogil,
        kernel.run_observations,
    ]
    if many_pairs:
        from pairlab.engine import many_kernel

        steps.append(many_kernel.kernel_many)
    for number, compile_step in enumerate(steps, 1):
        say(f"compiling the engine ({number} of {len(steps)})")
        compile_step()
    for problem in jit.cache_problems():
        say(problem)
    say("engine compiled")
