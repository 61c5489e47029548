"""A cluster of real processes with the live page, and a headless browser that looks at it.

Whatever a page says on its console, throws or fails to load ends its test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.integration.cluster.watched import Watched
from tests.integration.page.browser import ARGUMENTS, chromium
from tests.waiting import wait_for

DESKTOP = {"width": 1280, "height": 900}


class WithPage(Watched):
    """Its gateways have the live page."""

    def add_gateway(self, name: str) -> str:
        gateway = self.members[super().add_gateway(name)]
        gateway.words = (*gateway.words, "--ui")
        return name


@dataclass(frozen=True)
class Seen:
    """An open page of the cluster."""

    page: Page
    cluster: Watched

    @property
    def url(self) -> str:
        return self.cluster.gateways[0].address

    def wait(self, expression: str) -> None:
        """Until it is true in the page, whose policy lets nobody else evaluate anything."""
        wait_for(lambda: self.page.evaluate(expression), within_s=60, what=expression)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Watched]:
    chromium()  # skips before anything is started
    with WithPage(blocks=400) as processes:
        processes.start(replicas=("a", "b"))
        yield processes


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        yield launched
        launched.close()


@pytest.fixture
def seen(cluster: Watched, browser: Browser) -> Iterator[Seen]:
    """The page in a window of a desktop, live."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"{cluster.gateways[0].address}/ui")
    page.wait_for_selector("#news[data-state=good]")
    yield Seen(page, cluster)
    context.close()
    assert troubles == []
