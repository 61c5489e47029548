"""Whose turn it is: the order against a naive model, and what nobody has to suffer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.queue import Place, QueueConfig, WaitingQueue
from orchestrator.policy.shares import SharesConfig
from protos.messages import RequestClass

INTERACTIVE, AGENT, BATCH = RequestClass
SECOND = 1_000_000_000
CONFIG = QueueConfig(starved_ns=20 * SECOND)


def place(
    number: int,
    request_class: RequestClass = INTERACTIVE,
    tenant: str = "",
    deadline_s: int = 30,
) -> Place:
    return Place(request_class, tenant, deadline_s * SECOND, number)


def queue_of(*places: Place) -> WaitingQueue:
    queue = WaitingQueue(CONFIG)
    for each in places:
        queue.add(each, 0)
    return queue


def in_turn(queue: WaitingQueue, cost: int = 1, now_ns: int = 0) -> list[Place]:
    """Everybody, as they are served."""
    served = []
    while (head := queue.head(now_ns)) is not None:
        queue.serve(head, cost, now_ns)
        queue.remove(head)
        served.append(head)
    return served


# ---- the order


def test_a_better_class_goes_first() -> None:
    batch, agent, interactive = place(1, BATCH), place(2, AGENT), place(3, INTERACTIVE)
    assert in_turn(queue_of(batch, agent, interactive)) == [interactive, agent, batch]


def test_of_one_tenant_the_earliest_deadline_goes_first_then_who_came_first() -> None:
    late, soon, same = place(1, deadline_s=9), place(2, deadline_s=3), place(3, deadline_s=9)
    assert in_turn(queue_of(same, late, soon)) == [soon, late, same]


def test_what_has_begun_goes_on_before_any_deadline() -> None:
    begun = replace(place(2, deadline_s=60), has_begun=True)
    first = place(1, deadline_s=1)
    assert in_turn(queue_of(first, begun)) == [begun, first]


def test_choices_of_one_request_stand_side_by_side() -> None:
    choices = [replace(place(1), choice=choice) for choice in range(3)]
    assert in_turn(queue_of(place(2), *reversed(choices))) == [*choices, place(2)]


def test_a_flood_of_one_tenant_costs_another_one_turn() -> None:
    flood = [place(number, tenant="flood") for number in range(1, 100)]
    lone = place(100, tenant="lone", deadline_s=99)
    queue = queue_of(*flood, lone)
    assert queue.ahead(lone, 0) == 1
    assert in_turn(queue).index(lone) == 1


def test_what_one_class_is_given_is_not_held_against_a_tenant_in_another() -> None:
    queue = WaitingQueue(CONFIG)
    queue.serve(place(1, BATCH, "a"), 1000, 0)
    queue.add(place(2, tenant="a"), 0)
    queue.add(place(3, tenant="b"), 0)
    assert queue.head(0) == place(2, tenant="a")


places = st.builds(
    Place,
    request_class=st.sampled_from(RequestClass),
    tenant=st.sampled_from("xyz"),
    deadline_ns=st.integers(0, 5),
    number=st.integers(0, 50),
    choice=st.integers(0, 2),
    has_begun=st.booleans(),
)
events = st.one_of(
    st.tuples(st.just("add"), places),
    st.tuples(st.just("add"), places),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.tuples(st.just("serve"), st.integers(1, 5)),
    st.tuples(st.just("pass"), st.sampled_from([1, 25])),
)


class Naive:
    """Everything sorted anew for each question; virtual times as the textbook has them."""

    def __init__(self) -> None:
        self.waiting: list[Place] = []
        self.virtual: Counter[tuple[RequestClass, str]] = Counter()
        self.class_virtual: Counter[RequestClass] = Counter()
        self.passed: dict[RequestClass, int] = dict.fromkeys(RequestClass, 0)

    def of(self, request_class: RequestClass) -> list[Place]:
        return [each for each in self.waiting if each.request_class is request_class]

    def add(self, new: Place, now: int) -> None:
        key = (new.request_class, new.tenant)
        if not self.of(new.request_class):
            self.passed[new.request_class] = now
        if not any((p.request_class, p.tenant) == key for p in self.waiting):
            self.virtual[key] = max(self.virtual[key], self.class_virtual[new.request_class])
        self.waiting.append(new)

    def serve(self, who: Place, cost: int, now: int) -> None:
        key = (who.request_class, who.tenant)
        own = self.class_virtual[who.request_class]
        self.class_virtual[who.request_class] = max(own, self.virtual[key])
        self.virtual[key] += cost
        self.passed[who.request_class] = now

    def head(self, now: int) -> Place | None:
        starved = [c for c in RequestClass if self.of(c) and now - self.passed[c] >= 20]
        starved.sort(key=lambda c: (self.passed[c], c.rank))
        for each in [*starved, *RequestClass]:
            if self.of(each):
                return min(
                    self.of(each),
                    key=lambda p: (self.virtual[each, p.tenant], p.turn, p.tenant),
                )
        return None


@settings(deadline=None)
@given(st.lists(events, min_size=30, max_size=60))
def test_the_order_is_the_naive_ones(happenings: list[tuple[str, Place | int]]) -> None:
    """Power: with the starved class, a begin or the class's virtual time left out, it fails."""
    queue, naive, now = WaitingQueue(replace(CONFIG, starved_ns=20)), Naive(), 0
    for what, value in happenings:
        match what, value:
            case "add", Place() as new if new not in queue:
                queue.add(new, now)
                naive.add(new, now)
            case "remove", int(index) if naive.waiting:
                queue.remove(naive.waiting.pop(index % len(naive.waiting)))
            case "serve", int(cost) if naive.waiting:
                head = queue.head(now)
                assert head is not None
                queue.serve(head, cost, now)
                naive.serve(head, cost, now)
                queue.remove(head)
                naive.waiting.remove(head)
            case "pass", int(time):
                now += time
        assert queue.head(now) == naive.head(now)
        assert len(queue) == len(naive.waiting)
        for each in naive.waiting:
            assert each in queue
            assert (queue.ahead(each, now) == 0) == (each == queue.head(now))


@given(st.lists(places, unique=True, max_size=30), places)
def test_a_newcomer_is_ahead_of_all_exactly_if_it_would_be_the_head(
    waiting: list[Place], newcomer: Place
) -> None:
    queue = queue_of(*(each for each in waiting if each != newcomer))
    is_first = queue.ahead(newcomer, 0) == 0
    queue.add(newcomer, 0)
    assert is_first == (queue.head(0) == newcomer)


@given(st.lists(places, unique=True, max_size=30))
def test_where_all_cost_the_same_a_place_tells_how_many_go_before(waiting: list[Place]) -> None:
    """To a request of each other tenant: those of one round are not told apart."""
    queue = queue_of(*waiting)
    foreseen = {each: queue.ahead(each, 0) for each in waiting}
    for index, each in enumerate(in_turn(queue)):
        assert abs(foreseen[each] - index) <= 2


# ---- nobody starves


def test_a_class_that_was_given_nothing_for_long_has_one_turn() -> None:
    first, second = place(1, BATCH), place(2, BATCH)
    better = place(3)
    queue = queue_of(first, second, better)
    assert queue.head(20 * SECOND - 1) == better
    assert queue.starved(20 * SECOND) is INTERACTIVE
    queue.serve(better, 1, 10 * SECOND)
    assert queue.head(20 * SECOND) == first
    queue.serve(first, 1, 20 * SECOND)
    queue.remove(first)
    assert queue.head(21 * SECOND) == better
    queue.serve(better, 1, 39 * SECOND)
    assert queue.head(40 * SECOND) == second


def test_newcomers_of_a_better_class_let_a_starved_one_go_first() -> None:
    queue = queue_of(place(1, AGENT))
    newcomer = place(2)
    assert queue.ahead(newcomer, 19 * SECOND) == 0
    assert queue.ahead(newcomer, 20 * SECOND) == 1


def test_in_an_endless_flood_of_better_ones_everybody_is_served_in_time() -> None:
    """A turn a second, always somebody better: worse classes move one request in 20 s each."""
    queue = queue_of(*(place(n, each) for each in (AGENT, BATCH) for n in range(5)))
    served_s: dict[Place, int] = {}
    for second in range(250):
        newcomer = place(100 + second)
        queue.add(newcomer, second * SECOND)
        head = queue.head(second * SECOND)
        assert head is not None
        queue.serve(head, 1, second * SECOND)
        queue.remove(head)
        served_s[head] = second
    for each in (AGENT, BATCH):
        assert [served_s[place(n, each)] for n in range(5)] == sorted(
            served_s[place(n, each)] for n in range(5)
        )
        assert max(served_s[place(n, each)] for n in range(5)) <= 5 * 20 + 5


# ---- who gives way


def test_the_last_to_come_of_the_worst_class_gives_way() -> None:
    queue = queue_of(place(1, BATCH), place(2, BATCH), place(3, AGENT), place(4))
    assert queue.latest_below(INTERACTIVE) == place(2, BATCH)
    assert queue.latest_below(AGENT) == place(2, BATCH)
    assert queue.latest_below(BATCH) is None


def test_who_has_begun_gives_way_to_nobody() -> None:
    begun = replace(place(9, BATCH), has_begun=True)
    assert queue_of(begun).latest_below(INTERACTIVE) is None
    assert queue_of(begun, place(3, AGENT)).latest_below(INTERACTIVE) == place(3, AGENT)


@given(st.lists(places, unique=True, max_size=20), st.sampled_from(RequestClass))
def test_a_better_class_never_gives_way(waiting: list[Place], newcomer: RequestClass) -> None:
    out = queue_of(*waiting).latest_below(newcomer)
    if out is None:
        assert all(p.has_begun or p.request_class.rank <= newcomer.rank for p in waiting)
    else:
        assert out.request_class.rank > newcomer.rank
        worse = [p for p in waiting if not p.has_begun]
        assert all(p.request_class.rank <= out.request_class.rank for p in worse)


# ---- shares, in the queue


def test_a_flooding_tenant_gets_half_beside_one_that_asks_for_less_at_a_time() -> None:
    """Both always wait; the flood's requests are ten times as large."""
    queue = WaitingQueue(replace(CONFIG, shares=SharesConfig()))
    cost = {"flood": 10, "modest": 1}
    given_to: Counter[str] = Counter()
    for number in range(50):
        queue.add(place(number, tenant="flood"), 0)
    queue.add(place(1000, tenant="modest"), 0)
    for number in range(1001, 1400):
        head = queue.head(0)
        assert head is not None
        queue.serve(head, cost[head.tenant], 0)
        given_to[head.tenant] += cost[head.tenant]
        queue.add(place(number, tenant=head.tenant), 0)
        queue.remove(head)
    assert abs(given_to["flood"] - given_to["modest"]) <= 10 + 1
