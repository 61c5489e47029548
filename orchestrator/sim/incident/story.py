"""The incident in words: a table of what each model did, what it shows, and why.

Every number comes from the run. Where a symptom does not appear, the text says
so as plainly as where it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill

from orchestrator.sim.incident.figures import ModelFigures, PhaseFigures
from orchestrator.sim.incident.incident import Incident, agreement
from orchestrator.sim.incident.symptoms import answered, rise, seconds, tpot_p50, ttft_p50
from orchestrator.sim.incident.workload import AGENT
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.quantiles import Figures

EVIDENCE_MAX = 3  # failures shown one by one
WIDTH = 140  # of the table


def story(result: Incident) -> str:
    """The whole text."""
    return "\n".join(
        (
            fill(introduction(result), WIDTH),
            "",
            *table(list(result.figures.values())),
            fill(legend(result), WIDTH),
            "",
            *evidence(result.figures["contiguous+prefix"]),
            "",
            *(fill(each, WIDTH, subsequent_indent=" " * 6) for each in verdicts(result)),
            "",
            *(fill(each, WIDTH) for each in reading(result)),
        )
    )


def introduction(result: Incident) -> str:
    """What was run."""
    load, pool = result.case.load, result.case.pool
    sizes = load.sizes
    return (
        f"One replica of {pool.slots:,} token slots, seed {result.seed}; {result.where}. Chat"
        f" {load.chat_rate:.3g}/s behind one prompt of {sizes.prefix} tokens, agents"
        f" {load.agent_rate:.3g}/s ({span(sizes.agent_prompt)} tokens in,"
        f" {span(sizes.agent_answer)} out). From {load.steady_s:.4g} s to"
        f" {load.spike_end_s:.4g} s chat comes {load.chat_spike:g} times as fast. A contiguous"
        f" allocation that finds no hole is tried again for"
        f" {seconds(pool.patience_ns / NS_PER_S)}, then it fails."
    )


def span(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]:,}-{bounds[1]:,}"


def table(models: Sequence[ModelFigures]) -> Iterator[str]:
    """One line for each model and phase."""
    yield (
        f"{'':27}{'TTFT s p50/p99':>15}{'chat':>14}{'agents':>14}{'TPOT ms':>9}"
        f"{'admitted':>11}{'agents failed':>15}{'chats':>7}{'goodput':>9}"
        f"{'free':>6}{'int.':>6}{'ext.':>6}"
    )
    for model in models:
        phases = (("before", model.before), ("spike", model.spike), ("after", model.after))
        for name, phase in phases:
            yield f"{model.model:19}{name:8}" + row(phase)


def row(phase: PhaseFigures) -> str:
    """A phase's figures in the table's columns."""
    tpot = f"{1000 * tpot_p50(phase):.1f}" if phase.tpot_s else "-"
    return (
        f"{pair(phase.ttft_s):>15}{pair(phase.ttft_s_chat):>14}{pair(phase.ttft_s_agents):>14}"
        f"{tpot:>9}{f'{phase.admitted}/{phase.requests}':>11}"
        f"{f'{phase.agent_failures}/{phase.agents}':>15}{phase.chat_failures:>7}"
        f"{phase.goodput:9.2f}{phase.free:6.0%}{phase.internal_fragmentation:6.0%}"
        f"{phase.external_fragmentation:6.0%}"
    )


def legend(result: Incident) -> str:
    """What the columns mean."""
    good = result.case.objectives
    return (
        f"Phases by arrival; who failed has no TTFT. goodput: requests/s with TTFT up to"
        f" {seconds(good.ttft_s)} and TPOT up to {seconds(good.tpot_s)}. free: of memory."
        " int.: of memory, held and empty. ext.: of what is free, outside the largest hole."
    )


def pair(figures: Figures) -> str:
    """Median and tail; a dash for nobody."""
    return f"{figures['p50']:.2f}/{figures['p99']:.2f}" if figures else "-"


def evidence(model: ModelFigures) -> Iterator[str]:
    """The first failures of agents, one by one."""
    agents = [failure for failure in model.failures if failure.kind == AGENT]
    if not agents:
        yield f"{model.model}: no allocation of an agent failed."
        return
    yield f"{model.model}, the first of {len(agents)} agents that failed (all of them: --json):"
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
    same = agreement(result.replays)
    yield (
        f"[{'NO ' if same.different else 'yes'}] every memory model gives the same answers:"
        f" {len(same.different)} of {same.answers} answers ({same.tokens} tokens) differ"
        f"{': ' + ', '.join(same.different[:EVIDENCE_MAX]) if same.different else ''}."
    )


def reading(result: Incident) -> Iterator[str]:
    """Why, in the run's own figures: the cause, the trade, the change."""
    pinned, bare = result.figures["contiguous+prefix"], result.figures["contiguous"]
    paged, shared = result.figures["paged"], result.figures["paged+sharing"]
    block_size = result.case.pool.block_size
    if not all(map(answered, result.figures.values())):
        yield "Too little happened to say why."
        return
    yield (
        "Root cause. Memory is handed out as one run for each sequence, sized for what the"
        f" sequence may become. In the spike {pinned.spike.internal_fragmentation:.0%} of memory"
        f" is held and empty, and of the {pinned.spike.free:.0%} that is free"
        f" {pinned.spike.external_fragmentation:.0%} lies outside the largest hole. A prefill"
        " needs its whole run at once: it waits for a hole, which is TTFT, or fails. Agents ask"
        " for the longest runs, so agents fail. A decode writes into a run that it owns to the"
        f" end, so TPOT feels only who streams beside it: {rise(pinned, tpot_p50):.2f} times for"
        f" {pinned.spike.sequences / pinned.before.sequences:.1f} times as many sequences."
    )
    yield "The trade. A copied prefix saves its computation and no memory. " + trade(
        pinned.spike, bare.spike, result.case.load.sizes.prefix
    )
    yield (
        f"The one change. Blocks of {block_size} slots, from anywhere, shared where they are"
        " equal. Prefill is admitted by counting blocks; decode takes one more block every"
        f" {block_size} tokens: {len(paged.failures)} failures without sharing,"
        f" {len(shared.failures)} with it, {shared.spike.internal_fragmentation:.1%} of memory"
        " held and empty. A shared prefix is there once for all who use it:"
        f" {shared.spike.sequences:.1f} sequences hold {1 - shared.spike.free:.0%} of memory."
        f" TTFT p50 in the spike is {seconds(ttft_p50(paged.spike))} without sharing and"
        f" {seconds(ttft_p50(shared.spike))} with it: blocks cure the failures, sharing cures"
        " the line before prefill."
    )


def trade(on: PhaseFigures, off: PhaseFigures, prefix_tokens: int) -> str:
    """What computing the prefix each time did to the demand for memory."""
    held = f"{off.sequences:.1f} sequences hold memory against {on.sequences:.1f}"
    line = (
        f"Without reuse each chat computes {prefix_tokens} tokens more, and the line before"
        f" prefill is longer: TTFT p50 {seconds(ttft_p50(off))} against {seconds(ttft_p50(on))}."
    )
    if off.sequences < on.sequences:
        return f"{line} It lets fewer in at once: {held}."
    return (
        f"{line} It does not let fewer in here: {held}, each for longer, since steps full of"
        f" prefill slow every decode (TPOT p50 {seconds(tpot_p50(off))} against"
        f" {seconds(tpot_p50(on))})."
    )
