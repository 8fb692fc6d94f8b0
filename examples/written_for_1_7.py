"""Classify scikit-learn's digits with a spectral layer, as written for torch 1.7 in 2020.

This file does not use shim, and was not updated for a newer torch: plain Python with torch 2 dies at the first import
below. ``python -m shim run --for 1.7 examples/written_for_1_7.py`` trains it.
"""

import argparse
import os
import tempfile

import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch._six import container_abcs, int_classes
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, Sampler


class Digits(Dataset):
    """Digits of 8 by 8 pixels, each with its label."""

    def __init__(self, images, labels):
        self.images = images
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"image": self.images[index], "label": int(self.labels[index])}


class ClassBalancedSampler(Sampler):
    """Draw each class equally often."""

    def __init__(self, data_source):
        super().__init__(data_source)
        counts = torch.bincount(data_source.labels).float()
        self.weights = 1 / counts[data_source.labels]

    def __iter__(self):
        return iter(torch.multinomial(self.weights, len(self.weights), replacement=True).tolist())

    def __len__(self):
        return len(self.weights)


def collate(batch):
    """Stack what a batch holds, whatever it is made of."""
    first = batch[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(batch)
    if isinstance(first, int_classes):
        return torch.tensor(batch)
    if isinstance(first, container_abcs.Mapping):
        return {key: collate([each[key] for each in batch]) for key in first}
    raise TypeError(f"cannot collate {type(first)}")


class Prefetcher:
    """Keep one batch ahead of the training loop."""

    def __init__(self, loader):
        self.iterator = iter(loader)
        self.preload()

    def preload(self):
        try:
            self.batch = self.iterator.next()
        except StopIteration:
            self.batch = None

    def next(self):
        batch = self.batch
        self.preload()
        return batch


class Whitening:
    """Decorrelate the pixels (ZCA), from the eigenvectors of their covariance."""

    def __init__(self, x, epsilon=0.1):
        self.mean = x.mean(0)
        centered = x - self.mean
        covariance = centered.t().mm(centered) / (len(x) - 1)
        self.rank = int(torch.matrix_rank(covariance, symmetric=True))
        values, vectors = torch.symeig(covariance, eigenvectors=True)
        self.matrix = vectors.mm(torch.diag(1 / torch.sqrt(values + epsilon))).mm(vectors.t())

    def __call__(self, x):
        return (x - self.mean).mm(self.matrix)


class SpectralConv2d(nn.Module):
    """Multiply the channels of an image by learned complex weights, in the frequency domain."""

    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        self.size = size
        scale = 1 / (in_channels * out_channels) ** 0.5
        self.weight = nn.Parameter(scale * torch.randn(in_channels, out_channels, size, size // 2 + 1, 2))

    def forward(self, x):
        spectrum = torch.rfft(x, 2, normalized=True)
        real, imag = spectrum[..., 0], spectrum[..., 1]
        w_real, w_imag = self.weight[..., 0], self.weight[..., 1]
        multiply = "bixy,ioxy->boxy"
        product = torch.stack(
            [
                torch.einsum(multiply, real, w_real) - torch.einsum(multiply, imag, w_imag),
                torch.einsum(multiply, real, w_imag) + torch.einsum(multiply, imag, w_real),
            ],
            dim=-1,
        )
        return torch.irfft(product, 2, normalized=True, signal_sizes=(self.size, self.size))


class SpectralNet(nn.Module):
    def __init__(self, size=8, channels=8, classes=10):
        super().__init__()
        self.spectral = SpectralConv2d(1, channels, size)
        self.local = nn.Conv2d(1, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * size * size, classes)

    def forward(self, x):
        x = F.relu(self.norm(self.spectral(x) + self.local(x)))
        return self.fc(x.flatten(1))


def linear_baseline(x, y, x_test, y_test, ridge=1.0):
    """Fit the labels by least squares, as something to beat; constant pixels need the ridge below the data."""
    x, x_test = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (x, x_test))
    size = x.size(1)
    solution, _ = torch.lstsq(
        torch.cat([F.one_hot(y, 10).float(), torch.zeros(size, 10)]), torch.cat([x, ridge * torch.eye(size)])
    )
    return (x_test.mm(solution[:size]).argmax(1) == y_test).float().mean().item()


def evaluate(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for batch in loader:
            correct += (model(batch["image"]).argmax(1) == batch["label"]).sum().item()
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description="Train a small spectral network on digits.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checkpoint", help="keep the last checkpoint in this file")
    args = parser.parse_args()
    torch.manual_seed(0)

    digits = load_digits()
    data = train_test_split(digits.data / 16, digits.target, test_size=0.25, random_state=0)
    x, x_test, y, y_test = (torch.tensor(part.tolist()) for part in data)
    whiten = Whitening(x)
    x, x_test = whiten(x), whiten(x_test)
    print(f"{whiten.rank} of {x.size(1)} pixels carry information")
    print(f"linear baseline {linear_baseline(x, y, x_test, y_test):.1%}")

    train_set, test_set = Digits(x.view(-1, 1, 8, 8), y), Digits(x_test.view(-1, 1, 8, 8), y_test)
    train_loader = DataLoader(
        train_set, batch_size=64, sampler=ClassBalancedSampler(train_set), collate_fn=collate, drop_last=True
    )
    test_loader = DataLoader(test_set, batch_size=256, collate_fn=collate)

    model = SpectralNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    scheduler = ReduceLROnPlateau(optimizer, mode="max", factor=0.3, patience=2, verbose=True)
    path = args.checkpoint or os.path.join(tempfile.mkdtemp(), "checkpoint.pth.tar")

    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        prefetcher = Prefetcher(train_loader)
        batch = prefetcher.next()
        while batch is not None:
            loss = F.cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            batch = prefetcher.next()
        accuracy = evaluate(model, test_loader)
        scheduler.step(accuracy)
        print(f"epoch {epoch:2d}  loss {total / len(train_loader):.4f}  accuracy {accuracy:.1%}")
        torch.save(
            {
                "epoch": epoch,
                "accuracy": accuracy,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
            },
            path,
        )

    checkpoint = torch.load(path, map_location="cpu")
    model = SpectralNet()
    model.load_state_dict(checkpoint["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    optimizer.load_state_dict(checkpoint["optimizer"])
    accuracy = evaluate(model, test_loader)
    assert accuracy == checkpoint["accuracy"], "the checkpoint is another model"
    print(f"test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
