"""The training loop: goes on bit for bit from any epoch, branches as the whole run, ends with a reason."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import recipe
from torch import Tensor, nn

from pat.criteria import CRITERIA
from pat.policy import AtEpoch, Never, Policy
from pat.pruner import PruningAwareTraining
from pat.training import checkpoint, models
from pat.training.data import ImageDataset, load_manifest, open_dataset
from pat.training.data.draws import generator_for
from pat.training.epoch import Epoch
from pat.training.recipe import Recipe
from pat.training.tracking import StabilityTracker
from pat.training.trainer import Outcome, Trainer, TrainingFailed

EPOCHS = 4


@cache
def digits() -> ImageDataset:
    return open_dataset(load_manifest("digits"), root=Path("data"), device="cpu")


class Dropping(nn.Sequential):
    """A small net with dropout, which draws in every training step."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(16, 10),
        )


def small(name: str) -> Callable[[], nn.Module]:
    return lambda: models.build(name, num_classes=10, in_channels=1, image_size=8)


def trainer(
    policy: Policy,
    *,
    build: Callable[[], nn.Module] = Dropping,
    settings: Recipe | None = None,
    criterion: Any = "gradient",
    ratio: float = 0.5,
    start_epoch: int = 0,
    seed: int = 0,
    min_channels: int = 1,
) -> Trainer:
    torch.manual_seed(seed)

    def pruner(
        model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor, steps: int
    ) -> PruningAwareTraining:
        return PruningAwareTraining(
            model,
            optimizer,
            example,
            ratio=ratio,
            criterion=criterion,
            policy=policy,
            steps_per_epoch=steps,
            min_channels=min_channels,
            track=CRITERIA,
            start_epoch=start_epoch,
        )

    def tracker(pruner: PruningAwareTraining) -> StabilityTracker:
        return StabilityTracker(
            pruner.neurons, ratios=(0.5, 0.8), look_back=2, multiplicity=None, min_channels=0
        )

    return Trainer(
        build(),
        digits(),
        settings or recipe(epochs=EPOCHS),
        pruner,
        tracker,
        seed=seed,
        start_epoch=start_epoch,
    )


def rows(history: list[Epoch]) -> list[dict[str, Any]]:
    return [{k: v for k, v in log.model_dump().items() if k != "seconds"} for log in history]


def without_policy(history: list[Epoch]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "epi"} for row in rows(history)]


def assert_same(first: Trainer, second: Trainer) -> None:
    """Equal weights, momenta and history, bit for bit."""
    one, two = first.model.state_dict(), second.model.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    momenta = [
        [state["momentum_buffer"] for state in t.optimizer.state_dict()["state"].values()]
        for t in (first, second)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
    assert rows(first.history) == rows(second.history)


VARIANTS: dict[str, dict[str, Any]] = {
    "dropout": {},
    "magnitude": {"criterion": "magnitude", "ratio": 0.3},
    "channels last": {
        "build": small("resnet8-bottleneck"),
        "settings": recipe(epochs=EPOCHS, channels_last=True),
    },
    "augmented": {
        "build": small("mobilenetv1-tiny"),
        "settings": recipe(epochs=EPOCHS, augment={"crop_padding": 1}),
    },
    "bf16": {
        "build": small("resnet8-basic"),
        "settings": recipe(epochs=EPOCHS, precision="bf16"),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_goes_on_bit_for_bit_from_every_epoch(variant: str, tmp_path: Path) -> None:
    options = VARIANTS[variant]
    whole = trainer(AtEpoch(2), **options)

    def keep(current: Trainer) -> None:
        checkpoint.save(tmp_path / f"{current.next_epoch}.ckpt", current.state_dict())

    ended = whole.train(after_epoch=keep)
    assert ended is not None
    assert [log.phase for log in whole.history] == ["dense", "dense", "prune", "sparse"]
    assert ended.final.parameters < ended.dense.parameters
    for epoch in range(1, EPOCHS + 1):
        resumed = trainer(AtEpoch(2), **options)
        resumed.load_state_dict(checkpoint.load(tmp_path / f"{epoch}.ckpt"))
        torch.manual_seed(99)  # nothing may depend on what was drawn before
        assert resumed.train() == ended
        assert_same(resumed, whole)
        for name, kept in whole.scores.items():
            assert all(map(torch.equal, kept, resumed.scores[name]))


@pytest.mark.parametrize("variant", ["dropout", "channels last"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_branch_is_the_whole_run(variant: str, epoch: int, tmp_path: Path) -> None:
    options = VARIANTS[variant]
    trunk = trainer(Never(), **options)
    assert trunk.train(until=epoch) is None
    checkpoint.save(tmp_path / "trunk.ckpt", trunk.state_dict())
    branch = trainer(AtEpoch(epoch), start_epoch=epoch, **options)
    branch.load_weights(checkpoint.load(tmp_path / "trunk.ckpt"))
    whole = trainer(AtEpoch(epoch), **options)
    assert branch.train() == whole.train()
    assert rows(trunk.history) == rows(whole.history[:epoch])
    whole.history = whole.history[epoch:]
    assert_same(branch, whole)


def test_the_dense_history_depends_on_no_criterion_or_ratio() -> None:
    histories = []
    for criterion, ratio in (("gradient", 0.0), ("gradient", 0.8), ("magnitude", 0.5)):
        run = trainer(Never(), criterion=criterion, ratio=ratio)
        run.train(until=3)
        histories.append(without_policy(run.history))
    assert histories[0] == histories[1] == histories[2]
    assert histories[0][2]["tracked"]["magnitude"]["ratios"]["0.8"]["psi"][0] is not None


def test_the_seed_alone_decides() -> None:
    first, second, other = trainer(Never()), trainer(Never()), trainer(Never(), seed=1)
    for run in (first, second, other):
        run.train(until=1)
        torch.manual_seed(5)
    assert_same(first, second)
    assert rows(first.history) != rows(other.history)


def test_dropout_does_not_repeat_the_stream_of_the_data_order() -> None:
    seeds = []
    run = trainer(Never())
    run.model.register_forward_pre_hook(
        lambda model, inputs: seeds.append(torch.initial_seed()) if model.training else None
    )
    run.train(until=2)
    streams = [generator_for(0, epoch).initial_seed() for epoch in range(2)] + seeds
    assert len(seeds) == 10
    assert len(set(streams)) == len(streams)


def test_the_history_says_what_happened() -> None:
    run = trainer(AtEpoch(1), build=small("resnet8-basic"))
    steps: list[tuple[int, int, int]] = []
    told: list[Epoch] = []
    run.on_step = lambda *where: steps.append(where)
    run.on_epoch = told.append
    outcome = run.train()
    assert isinstance(outcome, Outcome)
    assert told == run.history
    assert [log.epoch for log in told] == [0, 1, 2, 3]
    assert [log.learning_rate for log in told] == [run.recipe.rate(epoch) for epoch in range(4)]
    assert steps == [(epoch, step, 5) for epoch in range(4) for step in range(1, 6)]
    assert [log.structure is not None for log in told] == [False, True, False, False]
    assert [log.tracked is not None for log in told] == [True, False, False, False]
    assert outcome.prune_epoch == 1
    assert outcome.validation_accuracy == told[-1].validation_accuracy
    for name, width in (told[1].structure or {}).items():
        assert run.model.get_submodule(name).weight.shape[0] == width
    json.dumps([log.model_dump() for log in told], allow_nan=False)


def test_accuracy_and_loss_are_those_of_the_split() -> None:
    run = trainer(Never())
    run.train(until=1)
    loss, accuracy = run.evaluate("test")
    run.model.eval()
    images, labels = next(iter(digits().eval_batches("test", batch_size=900)))
    with torch.no_grad():
        output = run.model(images)
    assert accuracy == pytest.approx(100 * (output.argmax(1) == labels).float().mean().item())
    assert loss == pytest.approx(nn.functional.cross_entropy(output, labels).item(), rel=1e-5)


def test_epochs_are_validated_on_part_of_the_split_and_the_result_on_all() -> None:
    part, whole = (trainer(Never(), settings=recipe(epochs=2, validation_images=n)) for n in (37, None))
    ends = [run.train() for run in (part, whole)]
    assert ends[0] == ends[1]
    assert part.history[-1].validation_accuracy * 37 / 100 == pytest.approx(
        round(part.history[-1].validation_accuracy * 37 / 100)
    )
    assert part.history[-1].validation_accuracy == part.evaluate("validation", 37)[1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_runs_on_a_cpu(precision: str) -> None:
    run = trainer(AtEpoch(1), build=small("resnet8-basic"), settings=recipe(epochs=3, precision=precision))
    seen: list[torch.dtype] = []
    run.model.get_submodule("layer1").register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    run.train(until=3)
    assert run.pruner.status == "sparse"
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


def test_a_loss_that_is_not_finite_ends_the_run_with_the_reason() -> None:
    run = trainer(Never(), settings=recipe(epochs=3, learning_rate=1e30))
    with pytest.raises(TrainingFailed, match=r"the loss is nan in epoch \d, .* at learning rate 1e\+30"):
        run.train()


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("epoch", [0, 1])
def test_weights_that_are_not_finite_end_a_pruning_run_with_the_reason(criterion: str, epoch: int) -> None:
    """Algorithm 1 ranks in the middle of an epoch, before the loss is looked at."""
    settings = recipe(epochs=3, learning_rate=1e30, warmup_epochs=0)
    run = trainer(AtEpoch(epoch), settings=settings, criterion=criterion)
    with pytest.raises(TrainingFailed, match=r"epoch \d"):
        run.train()


def test_weights_that_overflow_in_an_epochs_last_step_are_a_failure_too() -> None:
    run = trainer(Never())

    def spoil(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (1, steps):
            with torch.no_grad():
                run.model[3].weight.fill_(float("nan"))

    run.on_step = spoil
    with pytest.raises(TrainingFailed, match="epoch 1"):
        run.train()


@pytest.mark.parametrize("policy", [Never(), AtEpoch(0)])
def test_an_epoch_without_finite_gradients_is_a_failure_though_weights_are_finite(policy: Policy) -> None:
    """In half precision the scaler leaves out steps that overflow, so that the weights stay as they are."""
    run = trainer(policy, settings=recipe(epochs=2, precision="fp16"))
    for parameter in run.model.parameters():
        parameter.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
    with pytest.raises(TrainingFailed, match=r"epoch 0: no minibatch with finite gradients .*skipped"):
        run.train()
    assert run._finite()
    assert run.history == []


def test_other_errors_keep_their_kind() -> None:
    run = trainer(Never())

    def spoil(epoch: int, step: int, steps: int) -> None:
        raise ValueError("a mistake of ours")

    run.on_step = spoil
    with pytest.raises(ValueError, match="a mistake of ours"):
        run.train()


def test_a_model_without_a_path_is_collapsed_and_constant() -> None:
    run = trainer(AtEpoch(1), criterion="magnitude", ratio=0.95, min_channels=0)
    outcome = run.train()
    assert outcome is not None
    assert outcome.status == "collapsed"
    assert "no path" in (outcome.reason or "")
    assert outcome.prune_epoch == 1
    assert [log.phase for log in run.history] == ["dense"]
    shares = [100 * count / digits().split_size("test") for count in digits().class_counts("test")]
    assert outcome.test_accuracy == pytest.approx(max(shares, key=lambda s: -abs(s - outcome.test_accuracy)))


def test_a_state_of_other_settings_is_refused() -> None:
    run = trainer(AtEpoch(2))
    run.train(until=1)
    with pytest.raises(ValueError, match="was saved with"):
        trainer(AtEpoch(2), ratio=0.3).load_state_dict(run.state_dict())
