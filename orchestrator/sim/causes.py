"""What broke a world: tasks fail in groups, and groups in groups."""

from __future__ import annotations

from collections.abc import Iterator


def causes(error: BaseException) -> Iterator[BaseException]:
    """The errors in a tree of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    else:
        yield error


def told(error: BaseException) -> Iterator[str]:
    """A sentence for each."""
    return (f"{type(cause).__name__}: {cause}" for cause in causes(error))
