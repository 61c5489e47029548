"""What dashboards, alerts and documents ask for is what a running system offers.

A cluster that has served, refused and moved something is asked for /metrics.
Every name must be there, and where a metric has samples, every label and every
value by which it is asked for. One of its gateways has a keys file, and so
tells what keys do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.monitoring import (
    NOT_OURS,
    SCRAPED,
    SELECTOR,
    offered,
    panel_expressions,
    recorded,
    rule_expressions,
    selectors,
)
from tests.deploy.tools import DEPLOY, ROOT
from tests.integration.cluster.clients import Reader, body
from tests.integration.cluster.scraped import Scraped
from tests.waiting import wait_for

DOCUMENTS = [ROOT / "README.md", *sorted(DEPLOY.glob("*.md"))]
CLASSES = ("interactive", "agent", "batch")
# By pattern, whatever their names are.
ANY = {"replica"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Scraped]:
    with Scraped(keyed=frozenset({"gateway-1"})) as processes:
        processes.start(replicas=("a", "b"), gateways=2)
        yield processes


@pytest.fixture(scope="module")
def exposition(cluster: Scraped) -> str:
    """After a request of each class, once every replica has reported."""
    url = cluster.gateways[0].address
    with ThreadPoolExecutor(len(CLASSES)) as pool:
        asks = [body(0, tokens=40, request_class=each) for each in CLASSES]
        list(pool.map(lambda ask: Reader(0, ask).read(url), asks))
    return wait_for(lambda: whole(cluster), within_s=120, what="metrics of every member")


def whole(cluster: Scraped) -> str | None:
    """What all members say together, once somebody leads and both replicas are heard of."""
    text = cluster.exposition()
    heard = re.findall(r'^blockyard_kv_blocks\{replica="(\w+)",state="free"\}', text, re.M)
    leads = re.search(r"^blockyard_leader 1", text, re.M)
    return text if leads and set(heard) == set(cluster.replicas) else None


def labels_of(exposition: str) -> dict[str, dict[str, set[str]]]:
    """The values of every label, by the names of samples."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return found


def expressions() -> list[str]:
    return [text for text in rule_expressions() + panel_expressions() if "ALERTS" not in text]


def test_every_name_in_charts_and_alerts_is_offered(exposition: str) -> None:
    asked = {one.metric for text in expressions() for one in selectors(text)}
    ours = asked - recorded() - NOT_OURS
    assert "blockyard_keys_file_valid" in ours
    assert len(ours) > 30
    assert ours - offered(exposition) == set()


def test_every_label_that_is_asked_for_tells_samples_apart(exposition: str) -> None:
    samples = labels_of(exposition)
    missing = {
        (one.metric, label)
        for text in expressions()
        if len(list(selectors(text))) == 1
        for one in selectors(text)
        if one.metric in samples
        for label in one.labels - SCRAPED - {"le"} - set(samples[one.metric])
    }
    assert missing == set()


def test_every_value_that_is_asked_for_by_name_exists(exposition: str) -> None:
    samples = labels_of(exposition)
    for metric, matchers in {found for text in expressions() for found in SELECTOR.findall(text)}:
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            known = samples.get(metric, {}).get(label)
            if label not in ANY | SCRAPED and known:
                assert set(values.split("|")) <= known, (metric, label)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_in_a_document_is_offered(document: Path, exposition: str) -> None:
    ours = set(re.findall(r"\bblockyard_[a-z_]*[a-z]\b", document.read_text()))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in offered(exposition)}
    assert ours - offered(exposition) - families == set()
