"""Cost: the counts that engine.md confirms with other counters, and the paper's own arithmetic."""

import pytest
import timm
import torch
import torchvision
from networks import Plain, assert_unchanged, random_masks, snapshot
from torch import nn

from pat import surgery
from pat.channels import trace
from pat.cost import measure, paper_training_reduction, training_share

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("make", "gmacs", "parameters"),
    [
        (torchvision.models.resnet50, 4.0892, 25_557_032),
        (torchvision.models.resnet34, 3.6638, 21_797_672),
        (lambda: timm.create_model("mobilenetv1_100"), 0.5687, 4_231_976),
    ],
)
def test_published_networks(make: object, gmacs: float, parameters: int) -> None:
    cost = measure(make(), torch.empty(1, 3, 224, 224))
    assert round(cost.macs / 1e9, 4) == gmacs
    assert cost.parameters == parameters


def test_by_hand() -> None:
    # 3 x 3 over 2 channels to 4 on 6 x 6, depthwise 3 x 3 on 4 x 4, Linear 64 to 5.
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Flatten(), nn.Linear(64, 5)
    )
    macs = 4 * 4 * 4 * 2 * 9 + 4 * 4 * 4 * 9 + 64 * 5
    for samples in (1, 3):
        cost = measure(model, torch.randn(samples, 2, 6, 6))
        assert (cost.macs, cost.parameters) == (macs, 4 * 18 + 4 + 4 * 9 + 4 + 64 * 5 + 5)


def test_the_measured_model_is_untouched() -> None:
    model = Plain()
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    model.bn2.eval()
    before = snapshot(model)
    measure(model, torch.randn(2, 1, 8, 8))
    assert_unchanged(model, before)


def test_a_pruned_network() -> None:
    model = Plain()
    x = torch.randn(1, 1, 8, 8)
    groups = trace(model, x)
    surgery.remove(model, random_masks(groups, 0.5), groups=groups)
    assert measure(model, x).macs == 64 * 9 * (4 + 4 * 8 + 8 * 8 + 8 * 8) + 8 * 10
    again = trace(model, x)
    surgery.remove(model, {"conv1": torch.zeros(4, dtype=torch.bool)}, groups=again)
    assert measure(model, x).macs == 64 * 9 * (8 * 8 + 8 * 8) + 8 * 10


def test_training_share_by_hand() -> None:
    # 10 epochs, 4 of them dense, the others at a quarter: (4 + 6/4) / 10.
    assert training_share(8, 2, 10, 4) == pytest.approx(0.55)
    assert training_share(8, 2, 10, 10) == 1
    assert training_share(8, 2, 10, 0) == 0.25
    assert training_share(8, 8, 7, 3) == pytest.approx(1)


@pytest.mark.parametrize(
    ("pruned", "start", "printed"),
    [(1.612, 35, 37.2), (1.695, 13, 50.3)],  # Table 2, ResNet50: LFPC and PaT
)
def test_the_papers_table_2(pruned: float, start: int, printed: float) -> None:
    reduction = 100 * paper_training_reduction(4.111, pruned, 90, start)
    assert reduction == pytest.approx(printed, abs=0.06)


@pytest.mark.parametrize(
    ("pruned", "start", "printed", "right"),
    [(3.087, 40, 13.8, 8.8), (2.911, 11, 25.6, 18.2)],  # GPWP and PaT
)
def test_table_2s_resnet34_rows_use_resnet50s_cost(
    pruned: float, start: int, printed: float, right: float
) -> None:
    assert 100 * paper_training_reduction(4.111, pruned, 90, start) == pytest.approx(printed, abs=0.06)
    assert 100 * paper_training_reduction(3.671, pruned, 90, start) == pytest.approx(right, abs=0.06)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="dense_macs must be positive, got 0"):
        training_share(0, 1, 10, 5)
    for dense in (-1, 11):
        with pytest.raises(ValueError, match=rf"dense_epochs must lie in \[0, 10\], got {dense}"):
            training_share(4, 1, 10, dense)
    with pytest.raises(ValueError, match="dense_epochs"):
        training_share(4, 1, 0, 0)


class Pair(nn.Module):
    """Two images and a switch, which it reads from a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    def forward(self, images: list[torch.Tensor], switch: torch.Tensor) -> torch.Tensor:
        first = torch.stack([self.conv(image[None])[0] for image in images])
        return first * 2 if switch.item() > 0 else first


def test_arguments_may_be_several_and_values_may_decide() -> None:
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)]
    one = 3 * 4 * 9 * 64
    assert measure(Pair(), (images, torch.tensor(1.0))).macs == one
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert measure(conv, (torch.zeros(5, 3, 8, 8),)).macs == one
    assert measure(nn.DataParallel(conv), torch.zeros(5, 3, 8, 8)).macs == one
    with pytest.raises(ValueError, match="expected a tensor among the arguments"):
        measure(conv, ("images",))
