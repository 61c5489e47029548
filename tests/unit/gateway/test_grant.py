from __future__ import annotations

import pytest

from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.errors import Forbidden
from orchestrator.gateway.grant import Grant, grant, tenant_salt
from protos.messages import RequestClass

INTERACTIVE, AGENT, BATCH = RequestClass
ACME = Caller("acme-1", "acme")


def test_where_nothing_is_proven_everything_is_as_asked() -> None:
    asked = grant(ANYBODY, request_class=BATCH, tenant="acme", salt=b"s")
    assert asked == Grant(BATCH, "acme", b"s")
    silent = grant(ANYBODY, request_class=None, tenant="", salt=b"")
    assert silent == Grant(INTERACTIVE, "", b"")


def test_a_key_gives_the_tenant_and_its_salt() -> None:
    silent = grant(ACME, request_class=None, tenant="", salt=b"")
    said = grant(ACME, request_class=INTERACTIVE, tenant="acme", salt=b"")
    assert silent == said == Grant(INTERACTIVE, "acme", tenant_salt("acme", b""))


def test_another_tenants_name_is_refused() -> None:
    with pytest.raises(Forbidden) as caught:
        grant(ACME, request_class=None, tenant="other", salt=b"")
    assert caught.value.code == "tenant_not_allowed"


def test_a_class_that_the_key_does_not_cover_is_refused_and_the_best_it_does_is_the_default() -> (
    None
):
    caller = Caller("c", "acme", frozenset({BATCH, AGENT}))
    assert grant(caller, request_class=None, tenant="", salt=b"").request_class is AGENT
    with pytest.raises(Forbidden, match="only for agent, batch") as caught:
        grant(caller, request_class=INTERACTIVE, tenant="", salt=b"")
    assert caught.value.code == "class_not_allowed"


def test_no_two_pairs_of_tenant_and_salt_share_a_salt() -> None:
    pairs = [("a", b"bc"), ("ab", b"c"), ("abc", b""), ("", b"abc"), ("a", b"cb"), ("é", b"")]
    assert len({tenant_salt(*pair) for pair in pairs}) == len(pairs)


def test_a_tenants_salt_never_is_one_that_a_client_without_a_key_could_send() -> None:
    """Keys may be turned on while blocks of before are still cached."""
    derived = tenant_salt("acme", b"")
    with pytest.raises(UnicodeDecodeError):
        derived.decode()
