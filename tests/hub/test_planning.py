"""What a budget gives follows from memory, disk and processor; and which of them limits is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from smallchat.errors import ContextError
from smallchat.experts import budget
from smallchat.hub import details
from smallchat.hub.disk import DiskSpeed
from smallchat.hub.known import MODELS
from smallchat.hub.machine import Machine
from smallchat.hub.planning import Plan, make_plan
from smallchat.model.synthetic import SHAPES, routes
from smallchat.settings import parse_size

FOUR, TWENTY_ONE = MODELS
MACHINE = Machine(
    memory=16 << 30,
    available=16 << 30,
    kernels="ggml",
    kernels_note=None,
    threads=2,
    product_speed=22e9,
    disk_speed=None,
)
FAST, SLOW = DiskSpeed(3e9, True, None), DiskSpeed(0.2e9, True, None)


def plan_for(mem: str, disk: DiskSpeed | None = FAST, machine: Machine = MACHINE) -> Plan:
    return make_plan(details.of_known(FOUR), machine, disk, [parse_size(mem)])


@pytest.mark.parametrize("model", MODELS)
def test_more_memory_is_never_slower_and_all_of_it_needs_no_disk(model: object) -> None:
    plan = make_plan(details.of_known(model), MACHINE, FAST)
    assert plan.outcomes[0].budget == plan.smallest
    assert plan.outcomes[-1].budget == plan.whole
    for small, large in pairwise(plan.outcomes):
        assert small.slots < large.slots
        assert small.hit_rate <= large.hit_rate
        assert small.read_bytes >= large.read_bytes
        assert 0 < small.tokens_per_second <= large.tokens_per_second
    best = plan.outcomes[-1]
    assert (best.hit_rate, best.read_bytes, best.disk_seconds, best.limit) == (1, 0, 0, "compute")


def test_the_smallest_budget_works_and_less_does_not() -> None:
    smallest = plan_for("8G").smallest
    outcomes = make_plan(details.of_known(FOUR), MACHINE, FAST, [smallest - (1 << 20), smallest]).outcomes
    assert [(one.slots > 0, one.limit == "memory") for one in outcomes] == [(False, True), (True, False)]
    assert outcomes[0].tokens_per_second is None


def test_what_limits() -> None:
    assert plan_for("1G", SLOW).outcomes[0].limit == "disk"
    assert plan_for("2G", FAST).outcomes[0].limit == "compute"
    assert plan_for("2G", FAST, replace(MACHINE, available=2 << 30)).outcomes[0].limit == "memory"
    assert plan_for("64G").outcomes[0].limit == "compute"  # no more is taken than there is to take


def test_a_slow_disk_is_told_from_a_fast_one_and_an_unknown_one() -> None:
    fast, slow, unknown = (plan_for("1G", disk).outcomes[0] for disk in (FAST, SLOW, None))
    assert fast.hit_rate == slow.hit_rate == unknown.hit_rate
    assert fast.tokens_per_second > 2 * slow.tokens_per_second
    assert (unknown.tokens_per_second, unknown.disk_seconds) == (None, None)
    assert plan_for("8G", None).outcomes[0].tokens_per_second == plan_for("8G").outcomes[0].tokens_per_second


def test_the_recommendation_comes_near_the_best_that_fits() -> None:
    facts = details.of_known(FOUR)
    plan = make_plan(facts, MACHINE, SLOW)
    assert plan.recommended is not None
    fitting = [one for one in plan.outcomes if one.limit != "memory"]
    assert plan.recommended.tokens_per_second >= 0.9 * fitting[-1].tokens_per_second
    tight = make_plan(facts, replace(MACHINE, available=2 << 30), FAST).recommended
    assert tight is not None
    assert tight.budget <= 3 << 29
    assert make_plan(facts, replace(MACHINE, available=1 << 30), FAST).recommended is None


def test_what_is_estimated_is_what_the_engine_would_do() -> None:
    facts = details.of_known(FOUR)
    given = (facts.dense, facts.kv, facts.layout)
    shared = budget.plan(2 << 30, *given, least=12, ranks=MACHINE.threads, beside=1 << 20)
    outcome = make_plan(facts, MACHINE, FAST, [2 << 30], beside=1 << 20).outcomes[0]
    assert outcome.context == 4096
    assert shared.slots(facts.kv) < outcome.slots < shared.slots(0)


def test_a_small_budget_means_less_context_unless_one_is_wanted() -> None:
    facts = details.of_known(FOUR)
    small, large = make_plan(facts, MACHINE, FAST, [600 << 20, 2 << 30]).outcomes
    assert small.context < large.context == 4096
    wanted = make_plan(details.of_known(FOUR, context=2048), MACHINE, FAST)
    assert {one.context for one in wanted.outcomes} == {2048}
    assert wanted.smallest > make_plan(facts, MACHINE, FAST).smallest


def test_a_context_that_the_model_was_not_made_for() -> None:
    with pytest.raises(ContextError, match="32768"):
        details.of_known(FOUR, context=1 << 20)
    assert details.of_known(FOUR, context=8192).kv > details.of_known(FOUR).kv


@pytest.mark.parametrize("name", ["4b", "21b"])
def test_made_up_routes_are_as_uneven_as_the_made_up_models(name: str) -> None:
    shape = SHAPES[name]
    trace = routes(shape.layers, shape.experts, shape.experts_used, 128)
    assert trace.shape == (128, shape.layers, shape.experts_used)
    for layer in range(shape.layers):
        uses = trace[:, layer]
        assert all(len(set(token)) == shape.experts_used for token in uses.tolist())
        counts = sorted((uses == expert).sum() for expert in range(shape.experts))
        busiest = sum(counts[-round(0.3 * shape.experts) :])
        assert 0.6 < busiest / uses.size < 0.8  # the models: 0.68 to 0.76
