"""An actor and a critic that balance a pole, with NumPy as people wrote it. Written for torch 1.7 and NumPy 1.19."""

import numpy as np
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, Sampler

random = np.random.RandomState(7)


class Pole:
    """A pole on a cart, and a force on the cart between -1 and 1."""

    def reset(self):
        self.state = random.uniform(-0.05, 0.05, 4).astype(np.float)
        return self.state.copy()

    def step(self, force):
        x, v, angle, spin = self.state
        sin, cos = np.sin(angle), np.cos(angle)
        push = (10 * force + 0.05 * spin**2 * sin) / 1.1
        spin_rate = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        rate = push - 0.05 * spin_rate * cos / 1.1
        self.state = self.state + 0.02 * np.array([v, rate, spin, spin_rate], dtype=np.float)
        done = np.bool(abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.2)
        return self.state.copy(), 1.0 - float(done), done


class Recent(Sampler):
    """The last steps of a buffer, from the newest back."""

    def __init__(self, data_source):
        super(Recent, self).__init__(data_source)
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source) - 1, -1, -1))

    def __len__(self):
        return len(self.data_source)


def net(outputs):
    layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs)).double()
    for parameter in layers.parameters():
        parameter.data.copy_(torch.from_numpy(random.normal(0, 0.3, tuple(parameter.shape))))
    return layers


actor, critic, stops = net(1), net(1), net(1)
log_std = nn.Parameter(torch.zeros(1, dtype=torch.float64))
parameters = [*actor.parameters(), *critic.parameters(), *stops.parameters(), log_std]
optimizer = torch.optim.RMSprop(parameters, lr=0.01)
scheduler = LambdaLR(optimizer, lambda episode: 0.99**episode, verbose=False)
pole = Pole()
for episode in range(30):
    states, actions, rewards, dones = [], [], [], []
    state = pole.reset()
    for _ in range(100):
        with torch.no_grad():
            mean = actor(torch.from_numpy(state))
        action = float(mean + torch.exp(log_std.data) * random.normal())
        states.append(state)
        actions.append(action)
        state, reward, done = pole.step(np.clip(action, -1, 1))
        rewards.append(reward)
        dones.append(done)
        if done:
            break
    returns = np.zeros(len(rewards), dtype=np.float)
    running = 0.0
    for index in reversed(range(len(rewards))):
        running = rewards[index] + 0.97 * running
        returns[index] = running
    for batch in BatchSampler(Recent(states), 32, drop_last=False):
        seen = torch.from_numpy(np.array(states))[batch]
        value = critic(seen).squeeze(1)
        target = torch.from_numpy(returns)[batch]
        policy = Normal(actor(seen).squeeze(1), torch.exp(log_std))
        gain = policy.log_prob(torch.tensor(actions, dtype=torch.float64)[batch]) * (target - value).detach()
        # How soon it ends is learned from soft labels, which a Bernoulli of the time took.
        soon = torch.from_numpy(np.array(dones, dtype=np.float)).flip(0).cumsum(0).mul(0.9)[batch]
        ends = Bernoulli(logits=stops(seen).squeeze(1)).log_prob(soon)
        loss = (value - target).pow(2).mean() - gain.mean() - ends.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    if episode % 10 == 9:
        print(
            "episode %d  steps %d  loss %.6f  lr %.6g"
            % (episode + 1, len(rewards), loss.item(), scheduler.get_last_lr()[0])
        )
print("deviation %.6f" % torch.exp(log_std).item())
