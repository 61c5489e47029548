"""Who waits reads how far it is and how fast it goes."""

from __future__ import annotations

import pytest

from replicas.delivery.progress import LineWatch, Progress, sized

SECOND_NS = 1_000_000_000


def test_a_line_has_bytes_share_and_the_rate_since_the_last_one() -> None:
    now_ns, lines = 0, list[str]()
    watch = LineWatch(lines.append, lambda: now_ns)
    progress = Progress("llama")
    watch.tell(progress)
    progress.bytes_total = 2_000_000_000
    progress.resume(500_000_000)
    for seconds, came in ((2, 100_000_000), (2, 400_000_000)):
        now_ns += seconds * SECOND_NS
        progress.add(came)
        watch.tell(progress)
    assert lines == [
        "fetching llama: looking for its files",
        "fetching llama: 600.0 MB of 2.0 GB (30 %), 50.0 MB/s",
        "fetching llama: 1.0 GB of 2.0 GB (50 %), 200.0 MB/s",
    ]


def test_the_rate_of_one_delivery_is_not_counted_from_another() -> None:
    now_ns, lines = 0, list[str]()
    watch = LineWatch(lines.append, lambda: now_ns)
    for model in ("tokenizer", "llama"):
        progress = Progress(model, bytes_total=1_000)
        progress.add(500)
        now_ns += SECOND_NS
        watch.tell(progress)
    assert lines == [
        "fetching tokenizer: 500 bytes of 1.0 KB (50 %), 500 bytes/s",
        "fetching llama: 500 bytes of 1.0 KB (50 %), 500 bytes/s",
    ]


def test_who_waits_for_another_process_says_so_and_who_has_it_says_nothing() -> None:
    lines = list[str]()
    watch, progress = LineWatch(lines.append), Progress("llama")
    progress.waits = True
    watch.tell(progress)
    progress.is_here = True
    watch.tell(progress)
    assert lines == ["fetching llama: waiting for another process that fetches it"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 KB"), (2 * 10**15, "2000.0 TB")],
)
def test_sizes_are_in_thousands(count: int, text: str) -> None:
    assert sized(count) == text
