"""Forecasts: what is added up, with times that are given, and that a real trial gives times."""

import functools
from pathlib import Path

import pytest

from pat.study.plan.profile import Profile, load_profile
from pat.study.plan.spec import EPI, AtEpoch, Pruning, Spec
from pat.study.runs.sweep import sweep
from pat.study.runs.timing import trials
from pat.study.runs.timing.forecast import Forecast, forecast
from pat.study.runs.timing.trials import Source, Times, Trials
from pat.study.store import Store

SMOKE = load_profile("smoke")
EPOCHS = SMOKE.recipe.epochs


def times(spec: Spec) -> Times:
    """Dense epochs take ten seconds, pruned ones four, what is around a run one."""
    source: Source = "trial" if spec.pruning is None else "steps"
    return Times(
        epoch=10.0 if spec.pruning is None else 4.0,
        around=1.0,
        checkpoint=100,
        weights=30,
        log=5,
        source=source,
    )


def at(epoch: int, seed: int = 0, profile: Profile = SMOKE) -> Spec:
    return profile.spec(
        seed=seed, pruning=Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=epoch))
    )


def told(*specs: Spec, store: Path, jobs: int = 1) -> Forecast:
    return forecast(specs, Store(store), jobs=jobs, measure=times)


def test_a_dense_run_takes_its_epochs(tmp_path: Path) -> None:
    found = told(SMOKE.spec(), store=tmp_path)
    (part,) = found.parts
    assert (part.runs, part.done, part.shared, part.epochs) == (1, 0, 0, EPOCHS)
    assert part.seconds == part.apart == found.longest == 10 * EPOCHS + 1
    assert (found.kept, found.sources) == (30 + 5 * EPOCHS, {"trial"})


def test_branches_pay_for_what_they_do_not_share(tmp_path: Path) -> None:
    found = told(SMOKE.spec(), at(0), at(2), store=tmp_path)
    (part,) = found.parts
    dense = 10 * EPOCHS + 1
    branches = [1 + 10 + 4 * (EPOCHS - epoch - 1) for epoch in (0, 2)]  # the pruning epoch is a dense one
    assert (part.runs, part.shared, part.epochs) == (3, 1, EPOCHS + EPOCHS + EPOCHS - 2)
    assert part.seconds == dense + sum(branches)
    assert part.apart == part.seconds + 2 * 10  # the second would train its first two epochs again
    assert found.longest == dense + max(branches)
    assert found.sources == {"trial", "steps"}


def test_a_dense_run_that_nobody_asked_for_is_counted_where_others_start_from_it(tmp_path: Path) -> None:
    found = told(at(2), store=tmp_path)
    assert found.parts[0].runs == 2
    assert found.seconds == (10 * EPOCHS + 1) + 1 + 10 + 4 * (EPOCHS - 3)
    assert found.parts[0].apart == 1 + 10 * 3 + 4 * (EPOCHS - 3)


def test_tickets_train_as_small_networks_from_the_weights_that_they_go_back_to(tmp_path: Path) -> None:
    ticket = SMOKE.spec(pruning=Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=2), rewind=0))
    alone = told(SMOKE.spec(), store=tmp_path).seconds
    assert told(SMOKE.spec(), ticket, store=tmp_path).seconds - alone == 1 + 4 * EPOCHS


def test_of_epis_runs_the_earliest_epoch_is_assumed(tmp_path: Path) -> None:
    policy = EPI(threshold=0.9, look_back=1, patience=1)
    by_epi = SMOKE.spec(pruning=Pruning(criterion="gradient", ratio=0.5, policy=policy))
    found = told(by_epi, store=tmp_path)
    assert found.seconds == 1 + 10 * 4 + 4 * (EPOCHS - 4)


def test_jobs_share_the_time_but_not_a_chain(tmp_path: Path) -> None:
    specs = [at(epoch, seed) for epoch in (0, 1, 2) for seed in (0, 1)]
    found = told(*specs, store=tmp_path)
    assert found.wall(1) == found.seconds
    assert found.wall(2) == found.seconds / 2
    assert found.wall(100) == found.longest
    one, two = (told(*specs, store=tmp_path, jobs=jobs).meanwhile for jobs in (1, 2))
    assert two == 2 * one > 0


def test_what_a_store_has_takes_no_time(tmp_path: Path) -> None:
    specs = [SMOKE.spec(), at(0)]
    store = Store(tmp_path)
    sweep(specs[:1], store)
    (part,) = told(*specs, store=tmp_path).parts
    assert (part.runs, part.done, part.epochs) == (2, 1, EPOCHS)
    sweep(specs, store)
    done = told(*specs, store=tmp_path)
    assert (done.parts[0].done, done.seconds, done.kept) == (2, 0.0, 0)


@pytest.mark.parametrize("spec", [SMOKE.spec(), at(0)], ids=["dense", "pruned"])
def test_a_trial_measures_a_network(spec: Spec) -> None:
    found = Trials()(spec)
    assert found.source == "trial"
    assert min(found.epoch, found.around, found.checkpoint, found.weights, found.log) > 0


def test_a_network_that_collapses_in_its_first_epoch_is_timed_by_steps() -> None:
    """Pruned that far a layer is emptied before an epoch has ended; pruned later it may train on."""
    hopeless = Pruning(criterion="magnitude", ratio=0.99, policy=AtEpoch(epoch=0))
    found = Trials()(SMOKE.spec(pruning=hopeless))
    assert found.source == "steps"
    assert min(found.epoch, found.around, found.checkpoint, found.weights, found.log) > 0


def test_without_data_steps_are_timed(tmp_path: Path) -> None:
    far = load_profile("cifar10-small")
    small = far.recipe.model_copy(update={"batch_size": 4})
    dense = far.spec(recipe=small)
    pruned = far.spec(recipe=small, pruning=Pruning(criterion="gradient", ratio=0.9, policy=AtEpoch(epoch=0)))
    whole, cut = (Trials(tmp_path)(spec) for spec in (dense, pruned))
    assert whole.source == cut.source == "steps"
    assert cut.weights < whole.weights


def test_a_large_batch_is_timed_by_as_few_images_as_take_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = load_profile("cifar10-small")
    dense = far.spec(recipe=far.recipe.model_copy(update={"batch_size": 16}))
    stepped: list[int] = []

    class Seen(trials.Stepper):
        def step(self) -> tuple[float, float, float]:
            stepped.append(self.spec.recipe.batch_size)
            return super().step()

    monkeypatch.setattr(trials, "Stepper", Seen)
    monkeypatch.setattr(trials, "_LARGE", 0)
    monkeypatch.setattr(trials, "_step", trials._step.__wrapped__)  # measured anew
    Trials(tmp_path)(dense)
    assert stepped[:2] == [2, 8]
    assert set(stepped[2:]) == {8}
    stepped.clear()
    monkeypatch.setattr(trials, "_ENOUGH", 0.0)
    Trials(tmp_path)(dense)
    assert stepped == [2]


def test_structures_that_two_criteria_leave_are_stepped_on_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = load_profile("cifar10-small")
    measured: list[object] = []
    whole = trials.network
    monkeypatch.setattr(trials, "network", lambda *given: measured.append(given) or whole(*given))
    monkeypatch.setattr(trials, "_step", functools.cache(trials._step.__wrapped__))
    small = far.recipe.model_copy(update={"batch_size": 4})
    for criterion in ("gradient", "magnitude"):
        half = Pruning(criterion=criterion, ratio=0.5, policy=AtEpoch(epoch=0))
        Trials(tmp_path)(far.spec(recipe=small, pruning=half))
    cut = [given for given in measured if len(given) == 2]  # type: ignore[arg-type]
    assert len(cut) == 1
