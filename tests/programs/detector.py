"""A set detector on drawn rectangles, with the helpers that detectors of 2020 carried along. Written for torch 1.7."""

import math

import numpy as np
import torch
from torch import nn
from torch._six import container_abcs, inf, string_classes
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, Sampler

random = np.random.RandomState(0)


class Rectangles(Dataset):
    """Images of different sizes with one to three rectangles in each, as centre and size."""

    def __init__(self, count):
        self.images, self.targets = [], []
        for _ in range(count):
            height, width = random.randint(12, 17, 2)
            image = random.normal(0, 0.1, (1, height, width))
            boxes = []
            for _ in range(random.randint(1, 4)):
                y, x = random.randint(0, height - 5), random.randint(0, width - 5)
                h, w = random.randint(3, 6, 2)
                image[0, y : y + h, x : x + w] += 1
                boxes.append([(x + w / 2) / width, (y + h / 2) / height, w / width, h / height])
            self.images.append(torch.from_numpy(image))
            self.targets.append({"boxes": torch.tensor(boxes, dtype=torch.float64), "name": "rectangles"})

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


class Shuffled(Sampler):
    """A fixed order."""

    def __init__(self, data_source):
        super().__init__(data_source)
        self.order = random.permutation(len(data_source)).tolist()

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


class NestedTensor:
    """Images of different sizes in one tensor, and a mask that is True where there is none."""

    def __init__(self, tensors, mask):
        self.tensors, self.mask = tensors, mask

    @classmethod
    def of(cls, images):
        size = [max(sizes) for sizes in zip(*(image.shape for image in images))]
        tensors = torch.zeros(len(images), *size, dtype=images[0].dtype)
        mask = torch.ones(len(images), *size[1:], dtype=torch.bool)
        for image, padded, hidden in zip(images, tensors, mask):
            padded[:, : image.shape[1], : image.shape[2]].copy_(image)
            hidden[: image.shape[1], : image.shape[2]] = False
        return cls(tensors, mask)


def nested(value, dtype):
    """Cast all tensors in what the dataset gives."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype)
    if isinstance(value, string_classes):
        return value
    if isinstance(value, container_abcs.Mapping):
        return {key: nested(inner, dtype) for key, inner in value.items()}
    return [nested(inner, dtype) for inner in value]


def collate(batch):
    images, targets = zip(*batch)
    return NestedTensor.of(images), nested(targets, torch.float64)


def sine_positions(mask, features=8, temperature=10000):
    """Give each pixel the sine and cosine of where it lies, counted over what is not masked."""
    parts = []
    for dim in (1, 2):
        place = (~mask).cumsum(dim, dtype=torch.float64)
        place = place / (place.max(dim, keepdim=True)[0] + 1e-6) * 2 * math.pi
        step = torch.arange(features, dtype=torch.float64)
        step = temperature ** (2 * (step // 2) / features)
        angle = place[:, :, :, None] / step
        parts.append(torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=4).flatten(3))
    return torch.cat(parts, dim=3)


class Detector(nn.Module):
    def __init__(self, queries=4, width=16):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.queries = nn.Embedding(queries, width)
        self.attention = nn.MultiheadAttention(width, 2)
        self.boxes = nn.Linear(width, 4)
        self.logits = nn.Linear(width, 2)

    def forward(self, samples):
        x = self.stem(samples.tensors)
        mask = samples.mask[:, ::2, ::2]
        keys = x.flatten(2).permute(2, 0, 1) + sine_positions(mask).flatten(1, 2).transpose(0, 1)
        queries = self.queries.weight[:, None].expand(-1, len(x), -1)
        found, _ = self.attention(queries, keys, keys, key_padding_mask=mask.flatten(1))
        found = (found + queries).transpose(0, 1)
        return self.boxes(found).sigmoid(), self.logits(found)


def match(boxes, logits, target):
    """Match each target with the best query that is left, as a Hungarian matcher would for so few."""
    cost = torch.cdist(boxes, target, p=1) - logits.softmax(-1)[:, 1:]
    pairs = []
    for column in range(cost.shape[1]):
        row = int(cost[:, column].argmin())
        cost[row] = inf
        pairs.append((row, column))
    return pairs


def loss_of(outputs, targets):
    total = 0
    for boxes, logits, target in zip(*outputs, targets):
        pairs = match(boxes.detach(), logits.detach(), target["boxes"])
        classes = torch.full((len(boxes),), 0, dtype=torch.int64)
        for row, column in pairs:
            classes[row] = 1
            total = total + (boxes[row] - target["boxes"][column]).abs().sum() / len(pairs)
        total = total + nn.functional.cross_entropy(logits, classes, torch.tensor([0.3, 1.0], dtype=torch.float64))
    return total / len(targets)


def prefetched(loader):
    """Keep one batch ahead."""
    iterator = iter(loader)
    batch = iterator.next()
    while batch is not None:
        current = batch
        try:
            batch = iterator.next()
        except StopIteration:
            batch = None
        yield current


model = Detector().double()
for parameter in model.parameters():
    parameter.data.copy_(torch.from_numpy(random.normal(0, 0.2, tuple(parameter.shape))))
data = Rectangles(32)
loader = DataLoader(data, batch_size=8, sampler=Shuffled(data), collate_fn=collate)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=1e-4)
scheduler = StepLR(optimizer, 4, gamma=0.5, verbose=False)
for epoch in range(8):
    losses = []
    for samples, targets in prefetched(loader):
        loss = loss_of(model(samples), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    print("epoch %d  loss %.6f  lr %g" % (epoch, sum(losses) / len(losses), scheduler.get_last_lr()[0]))
model.eval()
with torch.no_grad():
    boxes, logits = model(NestedTensor.of([data[0][0], data[1][0]]))
    scores, indexes = logits[..., 1].flatten(1).topk(2, dim=1)
    print("scores", *("%.6f" % score for score in scores.flatten()), "queries", (indexes // 1).tolist())
