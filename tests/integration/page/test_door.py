"""Who may see the live page, and how its files are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from playwright.async_api import async_playwright

from orchestrator.__main__ import blockyard
from orchestrator.client_key import KEY_VARIABLE
from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.page.files import FOLDER
from orchestrator.gateway.page.routes import add_page
from orchestrator.gateway.page.state import PageState
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.gateway.server import GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.live.clock import OsClock
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.registry import ReplicaRecord
from tests.integration.gateway.scripted import BLOCKS_TOTAL, CARD, REPLICA, ScriptedReplica
from tests.integration.page.browser import ARGUMENTS, chromium
from tests.unit.gateway.byte_model import byte_tokenizer

TENANT, OPERATOR = "of-a-tenant", "of-an-operator"
FILES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A gateway with keys and a page, over a scripted replica."""
    clock = OsClock()
    registry = MemoryRegistry(clock.now_ns, RegistryConfig(lease_ms=3_600_000))
    await registry.join(ReplicaRecord(REPLICA, "nowhere:1", CARD, BLOCKS_TOTAL))
    cluster, replica = Cluster(ClusterConfig()), ScriptedReplica()
    fleet = Fleet(registry, lambda _, __: replica, cluster, clock, FleetConfig())
    dispatch = Dispatch(fleet, cluster, registry, clock, DispatchConfig())
    gateway = Gateway(dispatch, byte_tokenizer(tmp_path), clock=clock, metrics=GatewayMetrics())
    keyring = Keyring(
        (
            Entry(key_digest(TENANT), Caller("acme-1", "acme")),
            Entry(key_digest(OPERATOR), Caller("ops", "ops", is_operator=True)),
        )
    )
    keys = Keys(RateLimits(RateCounts(clock)), keyring)
    server = GatewayServer(gateway, keys=keys, http_port=0, grpc_port=0)
    add_page(server.app, PageState(fleet, dispatch, clock))
    await fleet.start()
    ports = await server.start()
    yield f"http://127.0.0.1:{ports.http}"
    await server.stop(1.0)
    await fleet.stop()


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def test_the_state_is_for_operators(client: httpx.AsyncClient) -> None:
    for key, status in ((None, 401), ("wrong", 401), (TENANT, 403), (OPERATOR, 200)):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        assert (await client.get("/ui/state", headers=headers)).status_code == status
        assert (await client.get(f"/ui/state?key={key}")).status_code == 401


async def test_a_terminal_asks_for_an_operators_key_too(url: str) -> None:
    for key, status in ((None, 1), (TENANT, 1), (OPERATOR, 0)):
        runner = CliRunner(env={KEY_VARIABLE: key})
        words = ["top", "--once", "--url", url]
        told = await asyncio.to_thread(runner.invoke, blockyard, words)
        assert told.exit_code == status, told.output
        assert (f"wants an operator's key: set {KEY_VARIABLE}" in told.output) == bool(status)


async def test_a_file_needs_no_key_and_may_load_nothing_from_elsewhere(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/ui/", *(f"/ui/page/{name}" for name in FILES)):
        response = await client.get(path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_the_page_is_found_without_its_last_stroke(client: httpx.AsyncClient) -> None:
    response = await client.get("/ui")
    assert response.is_redirect
    assert response.headers["location"] == "ui/"


async def test_only_files_of_the_page_are_served(client: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "..%2Froutes.py", "%2e%2e%2froutes.py", "../../page/routes.py"):
        assert (await client.get(f"/ui/page/{name}")).status_code in (401, 404)


async def test_the_page_asks_for_a_key_and_keeps_it_out_of_addresses(url: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        page = await browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{url}/ui")
        field = page.get_by_label("Key", exact=True)
        await field.fill(TENANT)
        await field.press("Enter")
        await page.get_by_text("the live page is for operators").wait_for()
        assert await page.locator("main").is_hidden()

        await field.fill(OPERATOR)
        await field.press("Enter")
        await page.locator("#news[data-state=good]").wait_for()
        await page.locator(".replica h3", has_text=REPLICA).wait_for()
        assert await field.is_hidden()
        assert [each for each in asked if TENANT in each or OPERATOR in each] == []
        await browser.close()
