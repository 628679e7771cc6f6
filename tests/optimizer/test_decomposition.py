"""The fast path against the whole programme: the same matrices, optima, plans and prices."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from green_llm.domain import instance_file
from green_llm.domain.instance import Instance
from green_llm.domain.plan import Objective, Order, Result, Spent, Termination, Tolerance
from green_llm.optimizer import Planner, Session, by_slots, decomposition, optimize, running, weighted
from green_llm.optimizer.block import Answer, Block
from green_llm.optimizer.block_programme import BALANCE, CAPACITY, DELAY, SERVED, Data, assemble
from green_llm.optimizer.coefficients import scales
from green_llm.optimizer.compilation import compile_model
from green_llm.optimizer.decomposition import minimise
from green_llm.optimizer.kernel import refill
from green_llm.optimizer.layout import layout
from green_llm.optimizer.measure import DELAY_FIRST
from green_llm.optimizer.optimum import Point, Task
from green_llm.optimizer.planner import Goal, Solve
from green_llm.optimizer.running import StoppedError
from green_llm.optimizer.scaled import scaled
from green_llm.optimizer.solver import FIXING_THRESHOLD, SMALL_TOLERANCE, Ending, Method, Solver
from green_llm.optimizer.state import State
from green_llm.optimizer.units import Triples, clustered, coarse, terms_of, units
from green_llm.optimizer.verify import check
from support.instances import an_instance, changed, paper_size, random_instance, shaken

EXACT = 1e-9
NONE, SOME = Tolerance(0.0), Tolerance(0.01)
TOLERANCES = [(NONE, SOME, SOME), (SOME, NONE, SOME), (NONE, NONE, NONE), (SOME, NONE, NONE)]
"""With phases that leave nothing to those after them, first, in the middle and both."""
ORDERS = [Order(p) for p in permutations((Objective.COST, Objective.CARBON, Objective.DELAY))]
SEEDS = st.integers(0, 10_000)
slow = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def by_whole(instance: Instance, order: Order | None = None) -> Result:
    return optimize(instance, order, session=Session(planner=None))


@pytest.fixture(params=["whole", "from few sites", "by slots", "by parts", "nearly closed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "from few sites":
        for name, value in (("EVERY_SITE", 0), ("GUESSED", 0), ("NEAREST_OF_ALL", 1)):
            monkeypatch.setattr(decomposition, name, value)
    if request.param.startswith("by "):
        force_slots(monkeypatch, parts=2 if request.param == "by parts" else None)
    if request.param == "nearly closed":
        for name, value in (("WHOLE", 0), ("EVERY_SITE", 0), ("MANY", 0), ("CLUSTERED", 20)):
            monkeypatch.setattr(decomposition, name, value)


def force_slots(monkeypatch: pytest.MonkeyPatch, parts: int | None = None) -> None:
    """Small instances take the way of large ones: a programme per slot, or for some, one site to start with."""
    for name, value in (("WHOLE", 0), ("EVERY_SITE", 0), ("NEAREST", 1), ("NEAREST_OF_ALL", 1), ("FEW", (1, 2))):
        monkeypatch.setattr(decomposition, name, value)
    monkeypatch.setattr(by_slots, "FEWEST", parts or 1_000)


def assert_exact(instance: Instance, result: Result) -> None:
    """Every phase against the whole programme at 1e-9 under this result's own budgets, or on the faces they leave."""
    form, size, solver = refill(instance, layout(instance)), scales(instance), Solver()
    solver.load(form)
    for phase in result.phases:
        coefficients, scale = form.objectives[phase.objective], size[phase.objective] or 1.0
        found = solver.minimise(coefficients, Method.DUAL, unit=scale / max(1, np.count_nonzero(coefficients)))
        assert found.ending is Ending.OPTIMAL
        allowed = EXACT * max(size[phase.objective], abs(found.objective))
        assert abs(found.objective - phase.optimum) <= allowed, (phase, found.objective)
        assert phase.lower_bound is not None
        assert -allowed <= phase.optimum - phase.lower_bound <= allowed
        if phase.budget is None:
            continue
        if phase.budget - phase.optimum < SMALL_TOLERANCE * scale:
            solver.fix_to_optimum(found, FIXING_THRESHOLD * scale)
        else:
            solver.add_budget(coefficients, phase.budget, scale)


def folders() -> Iterator[Any]:
    places = [Path(__file__).parents[1] / "data" / "instances", Path(os.environ.get("GREEN_LLM_INSTANCES", "/nowhere"))]
    for folder in places:
        for path in sorted(folder.glob("*.json")):
            if "slots" in json.loads(path.read_text()):
                yield pytest.param(path, id=f"{folder.name}-{path.stem}")


@pytest.mark.parametrize("path", list(folders()))
def test_known_instances_in_all_six_orders(path: Path) -> None:
    instance = instance_file.read(path)
    for order in ORDERS:
        result = optimize(instance, order)
        assert result.fallback_reason is None
        if result.termination is not Termination.INFEASIBLE:
            assert_exact(instance, result)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("order", [Order(p) for p in permutations(Objective, 3)][::5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_instances_in_many_orders(seed: int, order: Order) -> None:
    instance = random_instance(seed, areas=4, sites=4, classes=3, slots=4, plain=seed % 3 == 0)
    result = optimize(instance, order)
    assert (result.method, result.fallback_reason) == ("decomposition", None)
    assert_exact(instance, result)


@given(SEEDS, st.sampled_from(ORDERS), st.booleans(), st.sampled_from([None, 1_000, 2]))
@slow
def test_instances_of_every_kind(seed: int, order: Order, plain: bool, parts: int | None) -> None:
    instance = random_instance(seed, plain=plain)
    with pytest.MonkeyPatch.context() as patch:
        if parts is not None:
            force_slots(patch, parts)
        result = optimize(instance, order)
    assert_exact(instance, result)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("tolerances", TOLERANCES)
@pytest.mark.parametrize("order", ORDERS)
def test_phases_without_tolerance(order: Order, tolerances: tuple[Tolerance, ...]) -> None:
    for seed in (1, 2, 3):
        instance = random_instance(seed, areas=4, sites=4, classes=3, slots=4, plain=seed == 3)
        result = optimize(instance, Order(order.objectives, tolerances))
        assert (result.method, result.fallback_reason) == ("decomposition", None)
        assert_exact(instance, result)


@given(SEEDS, st.sampled_from(ORDERS), st.sampled_from(TOLERANCES), st.booleans(), st.booleans())
@slow
def test_phases_without_tolerance_of_every_kind(
    seed: int, order: Order, tolerances: tuple[Tolerance, ...], plain: bool, slots: bool
) -> None:
    instance = random_instance(seed, plain=plain, slots=1 + seed % 5)
    with pytest.MonkeyPatch.context() as patch:
        if slots:
            force_slots(patch)
        result = optimize(instance, Order(order.objectives, tolerances))
    assert result.fallback_reason in (None, "there is nothing to steer")
    assert_exact(instance, result)


def test_sites_without_energy_are_no_choice_on_a_face() -> None:
    # Where nothing is bought, the price of energy may be that of the cheapest site: it says nothing against the others.
    instance = an_instance(areas=200, sites=3, slots=2, electricity_price=[[0.05], [0.1], [0.08]])
    size = scales(instance)
    goals = tuple(Goal(o.value, terms_of(instance, o), NONE, size[o]) for o in (Objective.COST, Objective.DELAY))
    with Planner().executor() as executor:
        solve = Solve(Planner(), instance, goals, size, None, executor)
        solve.run(None)
    assert solve.units.columns == 0
    assert optimize(instance, Order((Objective.COST, Objective.DELAY), (NONE, NONE))).plan.shares[:, 0].min() == 1.0


def test_delay_limits_have_a_row_only_where_candidates_can_break_them() -> None:
    instance = scaled(12, 8, 3, 1, tight_delay=True)
    data = Data.of(instance, units(instance, Triples.of(instance), merged=False), 0, 1)
    slow = data.limited_seconds > data.limit[:, None]
    assert slow.any(axis=1).all()
    quick = data.serving.copy()
    quick[data.limited_unit] &= ~slow
    none, every = assemble(data, quick, ()), assemble(data, data.serving, ())
    assert (len(none.limits), len(every.limits)) == (0, len(data.limit))
    quick[data.limited_unit[4], slow[4].argmax()] = True
    one = assemble(data, quick, ())
    assert one.limits.tolist() == [4]
    row = one.part(DELAY).start
    there = one.rows == row
    assert there.sum() == quick[data.limited_unit[4]].sum() + 1
    shares = data.limited_seconds[4][quick[data.limited_unit[4]]] / data.delay_unit[4]
    assert sorted(one.values[there]) == pytest.approx(sorted([-1.0, *shares]))


def test_a_start_leaves_no_candidate_where_a_unit_may_not_go() -> None:
    instance = an_instance(areas=3, sites=3, slots=2, allowed=np.array([True, True, False])[None, :, None])
    single = units(instance, Triples.of(instance), merged=False)
    share = np.where(single.serving, 0.5, 1e-13)
    start, state = Point(share, np.zeros((3, 2))), State.new(instance, single)
    terms = terms_of(instance, Objective.COST)
    optimum = minimise(Task(instance, single, state, (), terms, 1.0, None, None), start)
    assert not state.candidates[~single.serving].any()
    assert not optimum.point.shares[~single.serving].any()


def test_clusters_go_only_where_their_members_may() -> None:
    instance = an_instance(areas=6, sites=3, slots=2)
    triples = Triples.of(instance)
    single = units(instance, triples, merged=False)
    serving = single.serving.copy()
    serving[:, 1] = False
    few = clustered(replace(single, serving=serving), units(instance, triples, merged=True), 2)
    assert few.serving.tolist() == [[True, False, True]] * 4


def test_a_guess_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(*args: Any) -> None:
        asked.append(args)
        raise StoppedError("HiGHS found no clear end: Unknown")

    monkeypatch.setattr(decomposition, "EVERY_SITE", 0)
    monkeypatch.setattr(decomposition, "coarse", fail)
    result = optimize(paper_size())
    assert asked
    assert (result.method, result.fallback_reason) == ("decomposition", None)


def test_ties_of_many_pairs_are_broken_the_same_in_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # All sites alike, and room for two thirds of the queries at two of them: only names choose.
    instance = an_instance(
        areas=60, sites=3, slots=3, demand=1.0 + np.arange(60.0)[:, None, None] % 7, resource_capacity=100.0
    )
    whole = optimize(instance).plan
    for name, value in (("WHOLE", 0), ("EVERY_SITE", 0), ("MANY", 0)):
        monkeypatch.setattr(decomposition, name, value)
    closed = optimize(instance).plan
    monkeypatch.setattr(decomposition, "MANY", 1_000_000)
    of_slots = optimize(instance).plan
    assert closed.shares == pytest.approx(whole.shares, abs=1e-7)
    assert of_slots.shares == pytest.approx(whole.shares, abs=1e-7)


def test_a_tolerance_that_is_used_up_leaves_nothing() -> None:
    instance = paper_size()
    used_up = Tolerance(0.001, spent=Spent(optimum=1.0, excess=1e6))
    result = optimize(instance, Order(tolerances=(used_up,)))
    assert (result.method, result.fallback_reason) == ("decomposition", None)
    assert_exact(instance, result)
    assert result.values.cost == pytest.approx(result.phases[0].optimum, rel=1e-9)


def test_thousands_of_small_pairs_leave_their_optimum_together_no_more_than_one_does() -> None:
    instance = scaled(400, 3, 4, 2)
    exact = Order((Objective.COST, Objective.DELAY), (NONE, NONE))
    result = optimize(instance, exact)
    assert result.fallback_reason is None
    for phase in result.phases:
        assert result.values.of(phase.objective) == pytest.approx(phase.optimum, rel=1e-9)


def test_an_answer_with_news_may_miss_the_optimum_by_its_slack_and_no_more() -> None:
    instance = scaled(9, 9, 5, 4)
    triples = Triples.of(instance)
    single = units(instance, triples, merged=False)
    terms = terms_of(instance, Objective.DELAY).plus(terms_of(instance, Objective.COST), 10.0)

    def asked(slack: float, worth: float) -> tuple[Block, Answer]:
        block = Block(instance, single, State.new(instance, single), 0, 1)
        block.start_with(terms, 1)
        return block, running.alone(block.steps(terms, 1.0, slack, worth), None)

    _, exact = asked(0.0, np.inf)
    block, rough = asked(np.inf, np.inf)
    assert rough.bound <= exact.value < rough.value - 1e-6 * abs(exact.value)
    # What is no news is exact, and so is what the same block is asked again.
    assert asked(np.inf, -np.inf)[1].value == pytest.approx(exact.value, rel=1e-9)
    assert running.alone(block.steps(terms, 1.0), None).value == pytest.approx(exact.value, rel=1e-9)
    _, near = asked((rough.value - rough.bound) / 2, np.inf)
    assert near.value - near.bound <= (rough.value - rough.bound) / 2


def test_only_small_slots_are_solved_together() -> None:
    def each(size: tuple[int, int, int, int]) -> set[int]:
        instance = scaled(*size)
        single = units(instance, Triples.of(instance), merged=False)
        state, terms = State.new(instance, single), terms_of(instance, Objective.DELAY)
        blocks = by_slots._blocks(Task(instance, single, state, (), terms, 1.0, None, None))
        return {block.data.slots.stop - block.data.slots.start for block in blocks}

    assert each((30, 30, 10, 16)) == {2}
    assert each((50, 50, 10, 16)) == {1}
    assert each((9, 9, 5, 4)) == {1}


@pytest.mark.long
def test_thousands_of_pairs_on_few_sites_with_delay_first() -> None:
    # HiGHS ends here once without a clear end, where costs that it perturbed have grown too large.
    result = optimize(scaled(700, 3, 10, 24), DELAY_FIRST)
    assert (result.method, result.fallback_reason) == ("decomposition", None)


@given(SEEDS)
@slow
def test_both_ways_finish_on_the_same_plan(seed: int) -> None:
    instance = random_instance(seed, plain=seed % 2 == 0)
    rng = np.random.default_rng(seed)
    raw = rng.uniform(0, 1, instance.allowed.shape) * instance.allowed
    if seed % 3 == 0:
        instance = changed(instance, current_shares=raw / raw.sum(axis=1, keepdims=True))
    fast, whole = optimize(instance), by_whole(instance)
    assert fast.fallback_reason is None
    assert np.abs(fast.plan.shares - whole.plan.shares).max() < 1e-6
    assert np.abs(fast.plan.grid_energy_kwh - whole.plan.grid_energy_kwh).max() < 1e-6 * max(
        1.0, whole.plan.grid_energy_kwh.max()
    )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("tolerances", [(), *TOLERANCES])
@pytest.mark.parametrize("seed", range(8))
def test_prices_are_those_of_the_whole_programme(seed: int, tolerances: tuple[Tolerance, ...]) -> None:
    # One slot and no ties: the optimal dual is unique.
    instance = random_instance(seed, slots=1, areas=3, sites=4, classes=2, plain=True)
    order = Order(ORDERS[seed % 6].objectives, tolerances)
    ours, theirs = optimize(instance, order), by_whole(instance, order)
    found = {(b.limit, b.where): {p.objective: p.value for p in b.prices} for b in ours.binding}
    known = {(b.limit, b.where): {p.objective: p.value for p in b.prices} for b in theirs.binding}
    assert found
    assert found == {key: pytest.approx(prices, rel=1e-6) for key, prices in known.items()}


@pytest.mark.parametrize("seed", range(6))
def test_the_programme_is_the_pyomo_model(seed: int) -> None:
    instance = random_instance(seed, plain=seed % 2 == 0)
    instance = changed(instance, share_groups=(), fixed_shares=np.full_like(instance.fixed_shares, np.nan))
    found = units(instance, Triples.of(instance), merged=False)
    data = Data.of(instance, found, 0, instance.slots)
    programme = assemble(data, data.serving, ())
    stated = compile_model(instance, layout(instance))
    triples, frame = found.triples, stated.layout
    column = {
        (int(frame.areas[n]), int(j), int(frame.classes[n]), int(frame.slots[n])): c
        for c, (n, j) in enumerate(zip(frame.column_triple, frame.column_site, strict=True))
    }
    members = np.argsort(found.of_triple)
    wanted = np.full(len(programme.column_upper), -1)
    if not np.array_equal(programme.open, np.arange(len(found.slots))):
        closed = found.serving.sum(axis=1) == 1
        assert closed[programme.closed].all()
    for c, (u, j) in enumerate(zip(programme.unit, programme.site, strict=True)):
        n = members[u]
        wanted[c] = column[int(triples.areas[n]), int(j), int(triples.classes[n]), int(triples.slots[n])]
    cells = data.available.size
    grid = slice(programme.shares, programme.shares + cells)
    wanted[grid] = stated.parts["grid_energy"].start + np.arange(cells)
    dense = np.zeros((len(programme.row_lower), len(programme.column_upper)))
    places = np.repeat(np.arange(dense.shape[1]), np.diff(programme.starts))
    dense[programme.rows, places] = programme.values
    pyomo, blocks = stated.matrix.toarray()[:, wanted[: grid.stop]], stated.blocks
    ours = dense[:, : grid.stop]
    ours[:, grid] /= data.kwh
    assert ours[programme.part(BALANCE)] * data.kwh == pytest.approx(pyomo[blocks["balance"]], rel=1e-12)
    assert ours[programme.part(CAPACITY)] * data.capacity_unit[:, None] == pytest.approx(
        pyomo[blocks["capacity"]], rel=1e-12
    )
    delay = ours[programme.part(DELAY)] * data.limit[:, None]
    order = np.lexsort((triples.slots[data.limited], triples.classes[data.limited], triples.areas[data.limited]))
    assert delay[order] == pytest.approx(pyomo[blocks["delay_limit"]], rel=1e-12)
    assert ours[programme.part(SERVED)].sum() == len(programme.unit)
    size = data.capacity_unit
    if not len(programme.closed):
        assert programme.row_upper[programme.part(BALANCE)] * data.kwh == pytest.approx(
            stated.row_upper[blocks["balance"]]
        )
        assert programme.row_upper[programme.part(CAPACITY)] * size == pytest.approx(
            stated.row_upper[blocks["capacity"]]
        )
    assert programme.column_upper[grid] * data.kwh == pytest.approx(stated.column_upper[stated.parts["grid_energy"]])


def test_merged_areas_cost_what_single_ones_do() -> None:
    instance = paper_size()
    triples = Triples.of(instance)
    merged, single = units(instance, triples, merged=True), units(instance, triples, merged=False)
    assert len(merged.slots) == len(instance.classes) * instance.slots
    assert len(single.slots) == len(instance.areas) * len(merged.slots)
    assert merged.energy.sum() == pytest.approx(single.energy.sum())
    assert merged.use.sum(axis=1) == pytest.approx(single.use.sum(axis=1))
    assert_exact(instance, optimize(instance))


def test_classes_that_take_the_same_merge_too() -> None:
    instance = an_instance(
        areas=2, sites=2, classes=3, slots=2, demand=np.array([1.0, 2.0, 3.0])[:, None], input_tokens=[10.0, 10.0, 20.0],
        output_tokens=[10.0, 10.0, 20.0], delay_penalty=[1.0, 5.0, 1.0], electricity_price=[[1.0], [2.0]],
    )  # fmt: skip
    triples = Triples.of(instance)
    assert len(units(instance, triples, merged=True).slots) == 2 * instance.slots
    assert_exact(instance, optimize(instance))


def test_a_few_areas_stand_for_all() -> None:
    instance = paper_size()
    triples = Triples.of(instance)
    merged, single = units(instance, triples, merged=True), units(instance, triples, merged=False)
    few = coarse(single, merged, 2)
    assert len(few.slots) == 2 * len(merged.slots)
    assert few.energy.sum(axis=0) == pytest.approx(single.energy.sum(axis=0))
    assert few.use.sum(axis=1) == pytest.approx(single.use.sum(axis=1))
    assert few.delay.sum() == pytest.approx(single.delay.sum(), rel=0.1)
    assert len(set(few.keys.tolist())) > len(few.keys) // (2 * instance.slots)


def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    force_slots(monkeypatch)
    instance, stop = random_instance(5, areas=5, sites=5, classes=3, slots=8), threading.Event()

    def load() -> None:
        while not stop.is_set():
            np.linalg.norm(np.ones((200, 200)))

    noise = [threading.Thread(target=load) for _ in range(3)]
    for thread in noise:
        thread.start()
    try:
        results = [optimize(instance, session=Session(planner=Planner(n))) for n in (1, 2, 4)]
    finally:
        stop.set()
        for thread in noise:
            thread.join()
    for other in results[1:]:
        assert np.abs(other.plan.shares - results[0].plan.shares).max() <= 1e-9
        assert [p.optimum for p in other.phases] == pytest.approx([p.optimum for p in results[0].phases], rel=1e-9)


def without_site(instance: Instance, j: int) -> Instance:
    axes: dict[str, Any] = {
        "sites": tuple(name for n, name in enumerate(instance.sites) if n != j),
        **{n: np.delete(getattr(instance, n), j, axis=0) for n in (
            "electricity_price", "carbon_intensity", "carbon_price", "renewable_power", "grid_limit", "pue", "wue", "ewif",
            "energy_per_input_token", "energy_per_output_token", "resource_per_token", "processing_delay", "headroom")},
        **{n: np.delete(getattr(instance, n), j, axis=1) for n in (
            "resource_capacity", "bandwidth", "network_delay", "allowed", "fixed_shares", "current_shares")},
    }  # fmt: skip
    return changed(instance, **axes)


@pytest.mark.usefixtures("way")
def test_a_live_planner_outlives_what_happens_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    base = changed(
        random_instance(4, areas=5, sites=5, classes=3, slots=10, plain=True), delay_limit=np.full((5, 3), 9.0)
    )
    base = changed(base, resource_capacity=base.resource_capacity * 2, grid_limit=base.grid_limit * 2, water_cap=None)
    rolled = changed(
        base,
        **{
            n: np.roll(getattr(base, n), -1, axis=-1)
            for n in ("demand", "electricity_price", "carbon_intensity", "renewable_power")
        },
    )
    jumped = changed(base, **{n: np.roll(getattr(base, n), -7, axis=-1) for n in ("demand", "electricity_price")})
    fewer_classes = changed(
        base, classes=base.classes[:-1], demand=base.demand[:, :-1], token_size=base.token_size[:, :-1],
        **{n: getattr(base, n)[:-1] for n in ("input_tokens", "output_tokens", "delay_penalty")},
        **{n: getattr(base, n)[:, :-1] for n in (
            "energy_per_input_token", "energy_per_output_token", "resource_per_token", "processing_delay", "delay_limit")},
        **{n: getattr(base, n)[:, :, :-1] for n in ("allowed", "fixed_shares", "current_shares")},
    )  # fmt: skip
    idle = base.demand.copy()
    idle[2, 1, 5:9] = 0.0
    steps = [
        base,
        shaken(base, 1),
        rolled,
        without_site(base, 3),
        base,
        fewer_classes,
        base,
        jumped,
        changed(base, demand=idle),
    ]
    for number, instance in enumerate(steps):
        live = optimize(instance, session=session)
        assert live.fallback_reason is None, number
        cold = optimize(instance)
        assert [p.optimum for p in live.phases] == pytest.approx([p.optimum for p in cold.phases], rel=1e-8), number
    impossible = changed(base, resource_capacity=base.resource_capacity * 1e-3)
    assert optimize(impossible, session=session).termination is Termination.INFEASIBLE
    after = optimize(base, session=session)
    assert (after.termination, after.fallback_reason) == (Termination.OPTIMAL, None)
    with monkeypatch.context() as broken:

        def fail(*_args: Any) -> None:
            raise StoppedError("HiGHS found no clear end: Unknown")

        broken.setattr(running, "run", fail)
        fallen = optimize(base, session=session)
    assert (fallen.method, fallen.fallback_reason) == ("lexicographic", "HiGHS found no clear end: Unknown")
    assert [p.optimum for p in fallen.phases] == pytest.approx([p.optimum for p in after.phases], rel=1e-8)
    assert optimize(base, session=session).fallback_reason is None


def test_what_it_does_not_do_goes_to_the_whole_programme() -> None:
    fixed = random_instance(1)
    grouped = changed(fixed, share_groups=(((0, 0), (1, 0)),))
    allowed = np.ones_like(fixed.allowed)
    grouped = changed(grouped, allowed=allowed)
    result = optimize(grouped)
    assert result.fallback_reason == "a share group has a pair with fixed shares"


def test_weighted_sums_take_it_too() -> None:
    instance = random_instance(2)
    weights = {Objective.COST: 1.0, Objective.DELAY: 2.0}
    fast = weighted(instance, weights)
    form = refill(instance, layout(instance))
    solver = Solver()
    solver.load(form)
    cost = form.objectives[Objective.COST] + 2.0 * form.objectives[Objective.DELAY]
    best = solver.minimise(cost, Method.DUAL).objective
    assert fast.method == "weighted"
    assert fast.values.cost + 2.0 * fast.values.delay == pytest.approx(best, rel=1e-8)


@pytest.mark.parametrize("after", range(7))
def test_out_of_time_at_any_moment_leaves_a_whole_plan(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, real, runs = an_instance(slots=2, classes=2), running.run, iter(range(100))

    def run(highs: Any, deadline: float | None) -> None:
        if next(runs) >= after:
            raise running.TimeIsUpError
        real(highs, deadline)

    for module in ("running", "master"):
        monkeypatch.setattr(f"green_llm.optimizer.{module}.run", run)
    result = optimize(instance)
    reached = len(result.phases)
    assert reached == min(after, 3)
    assert (result.termination is Termination.OPTIMAL) == (after > 3)
    assert len(result.phases_not_reached) == 3 - reached
    assert not check(instance, result.plan)
