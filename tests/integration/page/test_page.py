"""The live page in a real browser, over a real cluster: what is seen, and how it is used."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from playwright.sync_api import Route

from orchestrator.__main__ import blockyard
from orchestrator.live import operator_client
from protos.messages import ReplicaId
from tests.integration.page.conftest import Seen
from tests.integration.page.streams import CANARY, ask, stream
from tests.waiting import wait_for

PHONES = (390, 320)
ROW = "tr:has(button[title^='{}-'])"
TOPS = (
    "[...document.querySelectorAll('section, figure, h2')].map(e => e.getBoundingClientRect().top)"
)


def state_of(seen: Seen) -> dict[str, Any]:
    told: dict[str, Any] = seen.page.request.get(f"{seen.url}/ui/state").json()
    return told


def test_every_replica_is_there_and_its_squares_add_up(seen: Seen) -> None:
    ask(seen.url, "adds-up")
    seen.page.wait_for_selector(ROW.format("adds-up"))
    cards = seen.page.locator(".replica")
    assert cards.locator("h3").all_text_contents() == ["a", "b"]
    for replica in state_of(seen)["replicas"]:
        blocks = replica["blocks"]
        assert blocks["total"] == 400
        parts = ("shared", "private", "cached", "free")
        assert sum(blocks[part] for part in parts) == blocks["total"]
    # The blocks of an answer that is over are kept for the next one.
    seen.wait(
        "[...document.querySelectorAll('.replica canvas')]"
        ".some(c => /[1-9]\\d* cached/.test(c.getAttribute('aria-label')))"
    )


def test_a_square_stands_for_each_kind_however_little_there_is_of_it(seen: Seen) -> None:
    squares = seen.page.evaluate(
        """async () => {
          const { squares, runOf } = await import('./page/memory.js');
          const blocks = { total: 60000, free: 59990, cached: 4, shared: 3, private: 3 };
          blocks.promised = 2;
          const run = runOf(blocks.total);
          const field = squares(blocks, run);
          const count = (kind) => field.filter((each) => each === kind).length;
          const kinds = ['shared', 'private', 'promised', 'cached', 'free'];
          const counts = Object.fromEntries(kinds.map((kind) => [kind, count(kind)]));
          return { run, cells: field.length, kinds: counts };
        }"""
    )
    assert squares["run"] * squares["cells"] >= 60_000
    assert squares["cells"] <= 320
    assert [squares["kinds"][kind] for kind in ("shared", "private", "promised", "cached")] == [
        1
    ] * 4
    assert sum(squares["kinds"].values()) == squares["cells"]


def test_a_request_is_seen_while_it_streams_and_after(seen: Seen) -> None:
    row = ROW.format("long-story")
    with stream(seen.url, "long-story", "agent"):
        seen.page.wait_for_selector(f"{row}[data-phase=decode]")
        assert seen.page.locator(row).locator(".mark.agent").count() == 1
        seen.wait("document.querySelector('#tiles strong').textContent !== '0'")
    seen.page.wait_for_selector(f"{row}[data-phase=ended]")
    assert "left" in (seen.page.locator(row).text_content() or "")


def test_workloads_have_curves_of_their_own(seen: Seen) -> None:
    for request_class in ("interactive", "agent", "batch"):
        ask(seen.url, f"curve-{request_class}", request_class)
    for chart in ("#ttft", "#tpot"):
        for request_class in ("interactive", "agent", "batch"):
            seen.page.wait_for_selector(f"{chart} .plot .line.{request_class}", state="attached")


def test_a_move_is_seen_as_it_happens(seen: Seen) -> None:
    with stream(seen.url, "traveller", "agent"):
        source, sequence = wait_for(
            lambda: seen.cluster.whereabouts("traveller"), within_s=30, what="the stream is seen"
        )
        target = "b" if source == "a" else "a"
        operator_client.move(seen.cluster.control, sequence.sequence_id, ReplicaId(target))
        entry = seen.page.locator("#moves li", has_text="traveller").first
        entry.wait_for(timeout=30_000)
        assert entry.locator(".way").inner_text().split("→") == [source, target]
        seen.wait("document.querySelector('#moves li').dataset.end === 'adopted'")


def test_why_a_request_went_where_it_went_is_found_without_a_mouse(seen: Seen) -> None:
    for name in ("first-asked", "then-asked"):
        ask(seen.url, name)
    seen.page.wait_for_selector(ROW.format("then-asked"))
    keys = seen.page.keyboard
    for _ in range(12):
        keys.press("Tab")
        if seen.page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    first = seen.page.evaluate("document.activeElement.title")
    keys.press("ArrowDown")
    second = seen.page.evaluate("document.activeElement.title")
    assert first.startswith("then-asked") and second.startswith("first-asked")

    keys.press("Enter")
    seen.page.wait_for_selector("#why[open] .places li[data-chosen=true]")
    assert seen.page.locator("#why-title").text_content() == second
    assert seen.page.locator("#why .places li").count() == 2
    keys.press("Escape")
    seen.page.wait_for_selector("#why:not([open])", state="attached")
    assert seen.page.evaluate("document.activeElement.title") == second


def test_rows_stand_still_under_the_keyboard(seen: Seen) -> None:
    ask(seen.url, "held")
    seen.page.wait_for_selector(ROW.format("held"))
    seen.page.locator("tbody button").first.focus()
    ask(seen.url, "newcomer")
    seen.page.get_by_text("Held still while you look; 1 newer.").wait_for()
    assert seen.page.locator("tbody button").first.get_attribute("title") is not None
    assert seen.page.locator(ROW.format("newcomer")).count() == 0
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.wait_for_selector(ROW.format("newcomer"))


def test_a_chart_is_read_with_arrow_keys(seen: Seen) -> None:
    ask(seen.url, "plotted")
    seen.page.wait_for_selector("#ttft .plot .line", state="attached")
    seen.page.locator("#ttft").focus()
    for _ in range(3):
        seen.page.keyboard.press("ArrowLeft")
    assert seen.page.locator("#ttft .cursor").count() == 1
    assert "20 s ago" in seen.page.locator("#ttft .legend").inner_text()


@pytest.mark.parametrize("width", PHONES)
def test_a_phone_has_nothing_to_scroll_sideways(seen: Seen, width: int) -> None:
    ask(seen.url, "a-request-whose-client-gave-it-a-name-that-is-far-too-long-for-any-phone")
    seen.page.set_viewport_size({"width": width, "height": 844})
    seen.page.wait_for_selector(ROW.format("a-request"))
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert seen.page.evaluate(fits)
    seen.page.locator("tbody button").first.click()
    seen.page.wait_for_selector("#why[open] .places")
    assert seen.page.evaluate(fits)
    assert seen.page.evaluate("document.getElementById('why').scrollWidth <= innerWidth")


def test_nothing_jumps_while_figures_change(seen: Seen) -> None:
    ask(seen.url, "before")
    seen.page.wait_for_selector(ROW.format("before"))
    tops = seen.page.evaluate(TOPS)
    for number in range(9):
        ask(seen.url, f"after-{number}", ("interactive", "agent", "batch")[number % 3])
    seen.page.wait_for_selector(ROW.format("after-8"))
    assert seen.page.evaluate(TOPS) == tops


def test_old_news_is_called_old_until_there_is_some_again(seen: Seen) -> None:
    def silence(route: Route) -> None:
        route.fulfill(status=200, body="not json", content_type="application/json")

    seen.page.route("**/ui/state", silence)
    seen.page.wait_for_selector("#news[data-state=bad]", timeout=30_000)
    assert "all below is old" in seen.page.locator("#news").inner_text()
    seen.page.unroute("**/ui/state")
    seen.page.wait_for_selector("#news[data-state=good]", timeout=30_000)


def test_a_page_asks_nobody_but_its_gateway_and_shows_no_prompt(seen: Seen) -> None:
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    ask(seen.url, "private")
    seen.page.reload()
    seen.page.wait_for_selector(ROW.format("private"))
    seen.page.locator(ROW.format("private")).locator("button").click()
    seen.page.wait_for_selector("#why[open] .places")
    gateway = urlsplit(seen.url).netloc
    assert {urlsplit(url).netloc for url in asked} == {gateway}
    assert len(asked) > 8
    assert CANARY not in seen.page.content()
    assert CANARY not in seen.page.request.get(f"{seen.url}/ui/state").text()


def test_a_terminal_shows_what_the_page_shows(seen: Seen) -> None:
    ask(seen.url, "in-a-terminal")

    def shown() -> str | None:
        top = CliRunner().invoke(blockyard, ["top", "--once", "--url", seen.url])
        assert top.exit_code == 0, top.output
        return top.output if "in-a-terminal" in top.output else None

    output = wait_for(shown, within_s=30, what="the request is in a state made after it")
    for name in ("a", "b"):
        assert any(line.split()[:1] == [name] for line in output.splitlines()), output
    assert CANARY not in output
