"""The Lightning callback does what the plain loop does, and goes on from the trainer's checkpoints."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Plain
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import pat

lightning = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings("ignore")

BATCHES, EPOCHS = 4, 4
SETTINGS: dict[str, Any] = {"ratio": 0.4, "policy": pat.policy.AtEpoch(1)}


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(8 * BATCHES, 1, 16, 16, generator=generator), torch.arange(8 * BATCHES) % 4


def network() -> nn.Module:
    torch.manual_seed(0)
    return Plain()


def plainly(accumulate: int = 1, clip: float | None = None, epochs: int = EPOCHS) -> nn.Module:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = images()
    pat.attach(model, optimizer, x[:2], steps_per_epoch=BATCHES // accumulate, **SETTINGS)
    for _ in range(epochs):
        for i, (some, labels) in enumerate(zip(x.split(8), y.split(8), strict=True), 1):
            (F.cross_entropy(model(some), labels) / accumulate).backward()
            if i % accumulate == 0:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return model


def module(optimizers: int = 1) -> Any:
    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.example_input_array = images()[0][:2]

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)  # type: ignore[no-any-return]

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    return Module()


def fit(model: Any, callback: Any, folder: Path, *, checkpoint: Path | None = None, **options: Any) -> Any:
    settings = {"max_epochs": EPOCHS, "accelerator": "cpu", "devices": 1, "default_root_dir": folder}
    settings |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(callbacks=[callback], **(settings | options))
    loader = DataLoader(TensorDataset(*images()), batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, loader, loader, ckpt_path=checkpoint)
    return trainer


def callback(**settings: Any) -> Any:
    from pat.integrations.lightning import PruningAwareTraining

    return PruningAwareTraining(**(SETTINGS | settings))


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 2}, {"accumulate": 2}),
        ({"gradient_clip_val": 0.1}, {"clip": 0.1}),
    ],
    ids=["plain", "accumulated", "clipped"],
)
def test_the_callback_does_what_the_plain_loop_does(
    options: dict[str, Any], plain: dict[str, Any], tmp_path: Path
) -> None:
    model, pruning = module(), callback()
    fit(model, pruning, tmp_path, enable_checkpointing=False, **options)
    assert [report.status for report in pruning.reports] == ["dense", "prune", "sparse", "sparse"]
    assert same(model.net, plainly(**plain))


@pytest.mark.parametrize("epochs", [1, 2, 3], ids=["dense", "just pruned", "sparse"])
def test_a_run_goes_on_from_a_checkpoint(epochs: int, tmp_path: Path) -> None:
    first = module()
    trainer = fit(first, callback(), tmp_path, max_epochs=epochs)
    again, pruning = module(), callback()
    fit(again, pruning, tmp_path, checkpoint=Path(trainer.checkpoint_callback.best_model_path))
    assert same(again.net, plainly())
    later = fit(copy.deepcopy(first), callback(), tmp_path, max_epochs=0)
    assert later.current_epoch == 0


def test_what_it_needs_to_know_is_asked_for(tmp_path: Path) -> None:
    model = module()
    model.example_input_array = None
    with pytest.raises(ValueError, match="give the callback an example_input"):
        fit(model, callback(), tmp_path)
    fit(model, callback(example_input=images()[0][:2]), tmp_path, enable_checkpointing=False)
    with pytest.raises(ValueError, match="ratio must lie in"):
        fit(module(), callback(ratio=2.0), tmp_path)
