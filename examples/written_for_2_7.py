"""Classify scikit-learn's digits in mixed precision, as written for torch 2.7 in 2025.

This file does not use shim, and does not support an older torch: plain Python with torch 1.13 dies.
``python -m shim run --for 2.7 examples/written_for_2_7.py`` trains it there.
"""

import argparse
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, TensorDataset, default_collate, random_split


@dataclass
class Batch:
    """Images, and what they show."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device):
        return pytree.tree_map(lambda tensor: tensor.to(device, non_blocking=True), self)


pytree.register_pytree_node(
    Batch,
    lambda batch: ([batch.images, batch.labels], None),
    lambda tensors, _: Batch(*tensors),
    serialized_type_name="digits.Batch",
)


class SquaredReLU(torch.autograd.Function):
    """The square of ReLU, with a backward that keeps the input alone, computed in float32 under autocast."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0).square()

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x.clamp(min=0) * grad


class Perceptron(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.up, self.down = nn.Linear(64, hidden), nn.Linear(hidden, 10)

    def forward(self, images):
        hidden = self.up(self.norm(images.flatten(1)))
        # torch.compile cannot trace the Function, so it gets the same formula written out.
        hidden = F.relu(hidden).square() if torch.compiler.is_compiling() else SquaredReLU.apply(hidden)
        return self.down(hidden)


class Average:
    """Average the parameters over the steps of an optimizer."""

    def __init__(self, model, optimizer, decay=0.95):
        self.decay = decay
        self.parameters = dict(model.named_parameters())
        self.average = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.handle = optimizer.register_step_post_hook(self.update)

    @torch.no_grad()
    def update(self, optimizer, args, kwargs):
        for name, average in self.average.items():
            average.lerp_(self.parameters[name], 1 - self.decay)


def collate(samples):
    return Batch(*default_collate(samples))


@torch.inference_mode()
def evaluate(model, loader, device):
    model.eval()
    correct = sum((model(b.images).argmax(1) == b.labels).sum().item() for b in (b.to(device) for b in loader))
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description="Train a small network on digits, in mixed precision.")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--float32", action="store_true", help="without autocast")
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.get_default_device()

    digits = load_digits()
    data = train_test_split(digits.images / 16, digits.target, test_size=0.25, random_state=0)
    x, x_test, y, y_test = (torch.tensor(part.tolist()) for part in data)
    train_set, validation_set = random_split(TensorDataset(x, y), [0.9, 0.1])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True, collate_fn=collate, prefetch_factor=None)
    validation_loader = DataLoader(validation_set, batch_size=256, collate_fn=collate)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=256, collate_fn=collate)

    model = Perceptron().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01, fused=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=args.epochs * len(train_loader))
    average = Average(model, optimizer)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, growth_interval=100)

    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch in train_loader:
            batch = batch.to(device)
            with nullcontext() if args.float32 else torch.autocast(device.type, dtype=torch.bfloat16):
                loss = F.cross_entropy(model(batch.images).float(), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            total += loss.item()
        if epoch % 4 == 0:
            accuracy = evaluate(model, validation_loader, device)
            print(f"epoch {epoch:2d}  loss {total / len(train_loader):.4f}  validation {accuracy:.1%}")

    averaged = Perceptron().to(device)
    averaged.load_state_dict(average.average, assign=True)
    print(f"scale of the loss {scaler.get_scale():.0f}")
    print(f"test accuracy {evaluate(averaged, test_loader, device):.1%}")


if __name__ == "__main__":
    main()
