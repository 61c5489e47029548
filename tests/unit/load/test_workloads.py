"""What is sent when: rates, spikes, traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.load.plan import Plan, Prompts
from orchestrator.load.server import LONG_CHARACTERS, SHORT_CHARACTERS, laid
from orchestrator.load.spikes import Spike, in_order, parse_spike, real_s
from orchestrator.load.workloads import replayed, synthesize
from orchestrator.workload.traffic import NS_PER_S, Traffic
from protos.messages import RequestClass

SPIKE = Spike(at_s=100, times=10, seconds=20)


def rates(traffic: Traffic, tag: str) -> tuple[float, float, float]:
    """Requests a second before, in and after the spike, of 300 seconds."""
    dues = [a.arrival_ns / NS_PER_S for a in traffic.arrivals if a.tag == tag]
    before = sum(due < SPIKE.at_s for due in dues)
    inside = sum(SPIKE.at_s <= due < SPIKE.ends_s for due in dues)
    return before / 100, inside / 20, (len(dues) - before - inside) / 180


@pytest.mark.parametrize(("name", "tag"), [("chat", "chat"), ("agent", "agent")])
def test_a_spike_multiplies_the_rate_while_it_lasts(name: str, tag: str) -> None:
    traffic = synthesize(name, rate=20, seconds=300, spikes=[SPIKE], seed=1)
    assert rates(traffic, tag) == pytest.approx((20, 200, 20), rel=0.1)
    assert traffic.seconds < 300


def test_a_load_goes_on_after_its_last_spike() -> None:
    late = Plan(("",), "chat", Prompts.CHAT, rate=20, spikes=(Spike(60, 10, 10),))
    traffic = late.traffic()
    assert late.seconds_of(traffic) == 100
    dues = [arrival.arrival_ns / NS_PER_S for arrival in traffic.arrivals]
    assert sum(60 <= due < 70 for due in dues) == pytest.approx(2000, rel=0.1)
    assert 95 < dues[-1] < 100
    early = Plan(("",), "chat", Prompts.CHAT, spikes=(Spike(5, 10, 10),))
    assert early.seconds_of(early.traffic()) == 60


def test_in_a_mix_the_chat_surges_and_the_agents_do_not() -> None:
    traffic = synthesize("mix", rate=24, seconds=300, spikes=[SPIKE], seed=1)
    assert rates(traffic, "chat") == pytest.approx((20, 200, 20), rel=0.1)
    assert rates(traffic, "agent") == pytest.approx((4, 4, 4), rel=0.25)
    classes = {(a.tag, a.request_class) for a in traffic.arrivals}
    assert classes == {("chat", RequestClass.INTERACTIVE), ("agent", RequestClass.AGENT)}
    assert [a.number for a in traffic.arrivals] == list(range(len(traffic.arrivals)))


def test_the_same_seed_is_the_same_workload() -> None:
    one, again, other = (
        synthesize("mix", rate=5, seconds=20, spikes=[], seed=seed) for seed in (3, 3, 4)
    )
    assert one == again != other


def test_a_trace_runs_faster_in_a_spike_and_earlier_after_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = "".join(f"{second * 2000},10,5\n" for second in range(10))
    path.write_text(f"arrival_ms,input_tokens,output_tokens\n{rows}")
    spike = Spike(at_s=2, times=2, seconds=2)
    traffic = replayed(path, speed=2, seconds=None, spikes=[spike], seed=0)
    dues = [a.arrival_ns / NS_PER_S for a in traffic.arrivals]
    assert dues == [0, 1, 2, 2.5, 3, 3.5, 4, 5, 6, 7]
    cut = replayed(path, speed=2, seconds=3, spikes=[spike], seed=0)
    assert len(cut.arrivals) == 4


def test_a_lull_is_a_spike_of_less() -> None:
    assert [real_s(at_s, [Spike(2, 0.5, 4)]) for at_s in (1, 2, 3, 4, 5)] == [1, 2, 4, 6, 7]


def test_spikes_are_written_as_people_say_them() -> None:
    assert parse_spike("60:10x") == Spike(60, 10, 10)
    assert parse_spike("1.5:2.5x:0.5") == Spike(1.5, 2.5, 0.5)
    for wrong in ("60", "60:10", "60:0x", "60:2x:0", "x:2x", "-1:2x"):
        with pytest.raises(ValueError, match="60:10x:30"):
            parse_spike(wrong)


def test_spikes_do_not_overlap() -> None:
    later, earlier = Spike(60, 2, 10), Spike(50, 2, 10)
    assert in_order([later, earlier]) == (earlier, later)
    with pytest.raises(ValueError, match="overlap"):
        in_order([later, Spike(55, 2, 10)])


def test_a_ruler_tells_the_template_from_the_text() -> None:
    ruler = laid(SHORT_CHARACTERS // 5 + 30, LONG_CHARACTERS // 5 + 30)
    assert ruler is not None
    assert (ruler.characters_per_token, ruler.overhead_tokens) == (5.0, 30.0)
    assert laid(0, 0) is None, "a server that does not tell"
    assert laid(7, 7) is None, "a server that makes it up"
