"""Forward and backward pass of a training step: as written, or captured once as a graph and replayed."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.training.recipe import Recipe

Work = Callable[[], None]
Capture = Callable[[Work], Work]
"""Work that reads and writes tensors in fixed places in, what repeats it out; it may be done a few times."""

Place = tuple[int, tuple[int, ...]]

_WARM_UP = 3  # kernels are chosen and memory is taken before anything is captured


def cuda_graph(work: Work) -> Work:
    """Capture work as a CUDA graph: its kernels are launched as one, without Python between them."""
    here, beside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            work()
    here.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay


class Step:
    """Minibatches in, gradients in the parameters, sums of loss and hits out; nothing waits for the device.

    With ``capture`` the passes are captured with the first minibatch and replayed with all others. A graph
    knows tensors by where they lie: :meth:`begin_epoch` drops it once a parameter or buffer has moved, as
    after a removal of channels, and the next minibatch is captured anew.

    Args:
        model: the network, on its device.
        recipe: says precision, memory format and label smoothing.
        scaler: scales the loss of fp16.
        device: the model's.
        capture: such as :func:`cuda_graph`; None for the plain passes.

    Attributes:
        totals: float64 ``[2]``, sums over the epoch's images of loss and of correct answers.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        scaler: torch.amp.GradScaler,
        device: torch.device,
        capture: Capture | None = None,
    ) -> None:
        self._model = model
        self._recipe = recipe
        self._scaler = scaler
        self._device = device
        self._capture = capture
        self._replay: Work | None = None
        self._places: list[Place] = []
        self._images = self._labels = torch.empty(0)
        self.totals = torch.zeros(2, device=device, dtype=torch.float64)

    def begin_epoch(self) -> None:
        """Start new sums, and give up a graph of tensors that have moved."""
        self.totals.zero_()
        if self._replay is not None and self._places != self._where():
            self._model.zero_grad()  # they lie in the graph's memory
            self._replay = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One minibatch: float32 ``[B, C, H, W]`` and int64 ``[B]``, on the device."""
        images = self.arranged(images)
        if self._capture is None:
            return self._passes(images, labels)
        if self._replay is None or self._images.shape != images.shape:
            self._record(images, labels, self._capture)
        self._images.copy_(images)
        self._labels.copy_(labels)
        assert self._replay is not None
        return self._replay()

    def arranged(self, images: Tensor) -> Tensor:
        """Images in the recipe's memory format."""
        if self._recipe.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def autocast(self) -> torch.autocast:
        """The recipe's precision."""
        dtype = torch.float16 if self._recipe.precision == "fp16" else torch.bfloat16
        return torch.autocast(self._device.type, dtype, enabled=self._recipe.precision != "fp32")

    def _passes(self, images: Tensor, labels: Tensor) -> None:
        self._model.zero_grad()
        with self.autocast():
            output = self._model(images)
            loss = F.cross_entropy(output, labels, label_smoothing=self._recipe.label_smoothing)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            correct = (output.argmax(1) == labels).sum()
            self.totals += torch.stack([loss.detach().double() * len(labels), correct.double()])

    def _record(self, images: Tensor, labels: Tensor, capture: Capture) -> None:
        """Capture the passes; what doing them leaves behind (running means, sums, draws) is undone."""
        self._replay = None  # a graph's memory is free again before the next one is made
        self._images, self._labels = images.clone(), labels.clone()
        changed = [*self._model.buffers(), self.totals]
        before = [tensor.clone() for tensor in changed]
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            self._replay = capture(lambda: self._passes(self._images, self._labels))
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self._places = self._where()

    def _where(self) -> list[Place]:
        held = (*self._model.parameters(), *self._model.buffers())
        return [(tensor.data_ptr(), tuple(tensor.shape)) for tensor in held]
