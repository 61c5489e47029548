"""The incident in words: a table of what each model did, then what it shows.

Every number comes from the run. Where a symptom does not appear, the text says
so as plainly as where it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.sim.incident.figures import (
    TPOT_S_MAX,
    TTFT_S_MAX,
    ModelFigures,
    PhaseFigures,
)
from orchestrator.sim.incident.incident import Incident
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.quantiles import Figures

EVIDENCE_MAX = 3  # failures shown one by one


def story(result: Incident) -> str:
    """The whole text."""
    models = list(result.figures.values())
    return "\n".join(
        (
            *introduction(result),
            "",
            *table(models),
            "",
            *evidence(result.figures["contiguous+prefix"]),
            "",
            *verdicts(result),
            "",
            *reading(result),
        )
    )


def introduction(result: Incident) -> Iterator[str]:
    """What was run."""
    load, pool = result.load, result.pool
    yield (
        f"One replica of {pool.blocks * pool.block_size} token slots, seed {result.seed}:"
        f" chat {load.chat_rate:g}/s behind one 600-token prompt, agents {load.agent_rate:g}/s"
        " (50-4,000 in, 800-1,500 out);"
    )
    yield (
        f"from {load.steady_s:g} s to {load.spike_end_s:g} s chat comes {load.chat_spike:g} times"
        " as fast. A contiguous allocation that finds no hole"
        f" is tried again for {pool.patience_ns / NS_PER_S:g} s, then fails."
    )


def table(models: Sequence[ModelFigures]) -> Iterator[str]:
    """One line for each model and phase."""
    yield (
        f"{'':27}{'TTFT s p50/p99':>17}{'chat':>15}{'agents':>15}{'TPOT ms':>9}"
        f"{'failed agents':>15}{'chat':>6}{'goodput':>9}{'free':>6}{'int.':>6}{'ext.':>6}"
    )
    for model in models:
        for name, phase in (("before", model.before), ("spike", model.spike)):
            yield f"{model.model:19}{name:8}" + row(phase)
    yield (
        f"goodput: requests/s with TTFT up to {TTFT_S_MAX:g} s and TPOT up to"
        f" {1000 * TPOT_S_MAX:g} ms. free: of memory. int.: of memory, held and empty."
        " ext.: of what is free, outside the largest hole."
    )


def row(phase: PhaseFigures) -> str:
    """A phase's figures in the table's columns."""
    failed = f"{phase.agent_failures}/{phase.agents}"
    return (
        f"{pair(phase.ttft_s):>17}{pair(phase.ttft_s_chat):>15}{pair(phase.ttft_s_agents):>15}"
        f"{1000 * phase.tpot_s['p50']:9.1f}{failed:>15}{phase.chat_failures:>6}"
        f"{phase.goodput:9.2f}{phase.free:6.0%}{phase.internal_fragmentation:6.0%}"
        f"{phase.external_fragmentation:6.0%}"
    )


def pair(figures: Figures) -> str:
    """Median and tail; a dash for nobody."""
    return f"{figures['p50']:.2f}/{figures['p99']:.2f}" if figures else "-"


def evidence(model: ModelFigures) -> Iterator[str]:
    """The first failures of agents, one by one."""
    agents = [failure for failure in model.failures if failure.kind == "B"]
    if not agents:
        yield f"{model.model}: no allocation of an agent failed."
        return
    yield f"{model.model}, the first of {len(agents)} failed agents:"
    for failure in agents[:EVIDENCE_MAX]:
        yield (
            f"  {failure.at_s:7.1f} s  {failure.request} asked {failure.asked} slots,"
            f" {failure.free} were free ({failure.free_share:.0%}),"
            f" the largest hole had {failure.largest_hole}"
        )


def verdicts(result: Incident) -> Iterator[str]:
    """Each symptom: there or not, and by which figures."""
    for finding in result.findings:
        yield f"[{'yes' if finding.appears else 'NO '}] {finding.name}: {finding.evidence}."


def reading(result: Incident) -> Iterator[str]:
    """Why, in the run's own figures."""
    pinned, bare = result.figures["contiguous+prefix"], result.figures["contiguous"]
    paged, shared = result.figures["paged"], result.figures["paged+sharing"]
    yield (
        f"Why. A run is sized for what its sequence may become: in the spike"
        f" {pinned.spike.internal_fragmentation:.0%} of memory is held and empty, and of the"
        f" {pinned.spike.free:.0%} that is free"
        f" {pinned.spike.external_fragmentation:.0%} lies outside the largest hole."
    )
    yield (
        "Who streams owns a run to its end, so TPOT hardly feels it; who arrives waits for a hole,"
        " so TTFT does. An agent asks for the longest runs, so agents fail."
    )
    yield (
        f"Without reuse each chat computes 600 tokens more: a longer line before prefill (TTFT p50"
        f" {bare.spike.ttft_s['p50']:.3f} s against {pinned.spike.ttft_s['p50']:.3f} s), so fewer"
        " requests get as far as asking for memory."
    )
    yield (
        f"Paged, room is counted in blocks: {len(paged.failures)} failures without sharing,"
        f" {len(shared.failures)} with it; {shared.spike.internal_fragmentation:.1%} of memory is"
        f" held and empty. TTFT p50 in the spike is {paged.spike.ttft_s['p50']:.3f} s without"
        f" sharing and {shared.spike.ttft_s['p50']:.3f} s with it: blocks cure the failures,"
        " sharing the line before prefill."
    )
