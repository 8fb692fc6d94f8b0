"""Few-shot regression of sines, with the data utilities of the time. Written for torch 1.7."""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch._utils import _accumulate
from torch.utils.data import DataLoader, Dataset, Sampler, Subset
from torch.utils.data._utils.collate import container_abcs, default_collate, int_classes, string_classes

random = np.random.RandomState(5)


class Tasks(Dataset):
    """Sines of different height and phase; an item is a task with points to learn from and points to be judged by."""

    def __init__(self, count):
        self.heights, self.phases = random.uniform(0.5, 2, count), random.uniform(0, np.pi, count)
        self.points = random.uniform(-3, 3, (count, 20, 1))

    def __len__(self):
        return len(self.heights)

    def __getitem__(self, index):
        x = self.points[index]
        y = self.heights[index] * np.sin(x + self.phases[index])
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(y), "task": index, "name": "sine %d" % index}


class EpisodeSampler(Sampler):
    """Draw episodes of some tasks each."""

    def __init__(self, data_source, tasks, episodes):
        super().__init__(data_source)
        self.size, self.tasks, self.episodes = len(data_source), tasks, episodes

    def __iter__(self):
        for _ in range(self.episodes):
            yield random.choice(self.size, self.tasks, replace=False).tolist()

    def __len__(self):
        return self.episodes


def split(dataset, lengths):
    """Split at fixed places, as random_split does at random ones."""
    order = random.permutation(len(dataset)).tolist()
    return [Subset(dataset, order[end - length : end]) for end, length in zip(_accumulate(lengths), lengths)]


def collate(batch):
    """As the default, but names stay a list."""
    first = batch[0]
    if isinstance(first, container_abcs.Mapping):
        return {key: collate([each[key] for each in batch]) for key in first}
    if isinstance(first, string_classes):
        return batch
    if isinstance(first, int_classes):
        return torch.tensor(batch)
    return default_collate(batch)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(1, 20), nn.Linear(20, 1)

    def forward(self, x, weights):
        x = torch.tanh(nn.functional.linear(x, weights["one.weight"], weights["one.bias"]))
        return nn.functional.linear(x, weights["two.weight"], weights["two.bias"])


def adapted(net, weights, x, y, steps=2, rate=0.05):
    for _ in range(steps):
        loss = nn.functional.mse_loss(net(x, weights), y)
        grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = OrderedDict((name, w - rate * g) for (name, w), g in zip(weights.items(), grads))
    return weights


net = Net().double()
for parameter in net.parameters():
    parameter.data.copy_(torch.from_numpy(random.normal(0, 0.5, tuple(parameter.shape))))
train, test = split(Tasks(60), [50, 10])
loader = DataLoader(train, batch_sampler=EpisodeSampler(train, 5, 30), collate_fn=collate)
outer = torch.optim.Adam(net.parameters(), lr=0.01)
decay = torch.optim.lr_scheduler.ExponentialLR(outer, 0.97, verbose=False)


def outer_loss(batch):
    total = 0
    for x, y in zip(batch["x"], batch["y"]):
        weights = adapted(net, OrderedDict(net.named_parameters()), x[:10], y[:10])
        total = total + nn.functional.mse_loss(net(x[10:], weights), y[10:])
    return total / len(batch["x"])


episodes = iter(loader)
for episode in range(len(loader)):
    loss = outer_loss(episodes.next())
    outer.zero_grad()
    loss.backward()
    outer.step()
    decay.step()
    if episode % 10 == 9:
        print("episode %d  loss %.6f  lr %.6g" % (episode + 1, loss.item(), decay.get_last_lr()[0]))
batch = iter(DataLoader(test, batch_size=10, collate_fn=collate)).next()
print("test loss %.6f of tasks %s" % (outer_loss(batch).item(), sorted(batch["task"].tolist())[:3]))
