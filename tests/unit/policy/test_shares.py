"""What a tenant is given, and what it is owed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.policy.shares import Shares, SharesConfig


def served(shares: Shares, costs: dict[str, int], turns: int) -> dict[str, int]:
    """What each tenant is given when all always wait and the least goes next."""
    given_to = dict.fromkeys(costs, 0)
    for tenant in costs:
        shares.begin(tenant)
    for _ in range(turns):
        tenant = min(costs, key=lambda each: (shares.of(each), each))
        shares.charge(tenant, costs[tenant])
        given_to[tenant] += costs[tenant]
    return given_to


def test_two_tenants_get_the_same_memory_however_large_their_requests() -> None:
    given_to = served(Shares(SharesConfig()), {"large": 100, "small": 1}, turns=1010)
    assert given_to == {"large": 1000, "small": 1000}


def test_a_weight_of_three_gets_three_times_as_much() -> None:
    given_to = served(Shares(SharesConfig({"heavy": 3})), {"heavy": 6, "light": 6}, turns=400)
    assert given_to == {"heavy": 300 * 6, "light": 100 * 6}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 1000), min_size=2),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4)),
    st.integers(1, 200),
)
def test_among_those_who_wait_no_two_differ_by_more_than_one_request_of_each(
    costs: dict[str, int], weights: dict[str, int], turns: int
) -> None:
    """Power: without dividing by the weight, or charging half, it fails."""
    given_to = served(Shares(SharesConfig(weights)), costs, turns)
    normal = {tenant: given_to[tenant] / weights.get(tenant, 1) for tenant in costs}
    # Whole numbers: each charge may lose less than 1 to the division.
    slack = turns + max(costs[tenant] / weights.get(tenant, 1) for tenant in costs)
    assert max(normal.values()) - min(normal.values()) <= slack


def test_being_idle_saves_nothing_up() -> None:
    shares = Shares(SharesConfig())
    served(shares, {"busy": 10}, turns=100)
    shares.begin("idle")
    assert shares.of("idle") == shares.of("busy") - 10


def test_who_comes_back_soon_is_not_forgiven() -> None:
    shares = Shares(SharesConfig())
    shares.begin("waits")
    shares.charge("greedy", 1000)
    assert shares.of("greedy") == 1000
    assert shares.of("waits") == 0


def test_a_prediction_is_corrected_once_the_use_is_known() -> None:
    shares = Shares(SharesConfig({"a": 2}))
    shares.begin("a")
    shares.charge("a", 100)
    shares.correct("a", -60)
    assert shares.of("a") == 20
    shares.correct("a", -1000)
    assert shares.of("a") == 0


def test_a_tenant_without_an_account_pays_for_what_nobody_had_predicted() -> None:
    """Its stream began at another gateway."""
    shares = Shares(SharesConfig({"heavy": 2}, idle_tenants_max=10))
    served(shares, {"busy": 10}, turns=5)
    shares.correct("heavy", 1000)
    assert shares.of("heavy") == 40 + 500, "from where the class is"
    shares.correct("forgiven", -1000)
    assert shares.remembered == 2
    for number in range(100):
        shares.correct(f"t{number}", 1000)
    assert shares.remembered == 11, "one waits"


def test_tenants_that_come_and_go_leave_a_bounded_memory() -> None:
    shares = Shares(SharesConfig(idle_tenants_max=10))
    for number in range(1000):
        shares.charge(f"t{number}", 5)
    assert shares.remembered == 10


def test_a_tenant_that_is_not_ahead_is_forgotten_at_once() -> None:
    shares = Shares(SharesConfig())
    shares.begin("a")
    shares.rest("a")
    assert shares.remembered == 0
