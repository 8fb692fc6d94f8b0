"""Tones in noise, recognised from log mel features of the old stft. Written for torch 1.7."""

import numpy as np
import torch
from torch import nn
from torch._six import string_classes
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

random = np.random.RandomState(3)
RATE, N_FFT, HOP = 8000, 256, 128
NAMES = ["low", "middle", "high"]


def mel_filters(n_mels=12):
    """Return triangles over the frequencies, evenly spaced on the mel scale, of shape (n_mels, N_FFT // 2 + 1)."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, N_FFT // 2 + 1)
    lower, center, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - lower) / (center - lower), (upper - frequencies) / (upper - center)
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)))


class FrontEnd(nn.Module):
    def __init__(self):
        super(FrontEnd, self).__init__()
        self.register_buffer("window", torch.hann_window(N_FFT, dtype=torch.float64))
        self.register_buffer("mel", mel_filters())

    def forward(self, waves):
        spectrum = torch.stft(waves, N_FFT, HOP, window=self.window)
        power = spectrum[..., 0] ** 2 + spectrum[..., 1] ** 2
        return torch.log(torch.matmul(self.mel, power) + 1e-6).transpose(1, 2)


def cepstrum(wave):
    """Return the real cepstrum of the first frame, by the transforms of the time."""
    spectrum = torch.rfft(wave[:N_FFT], 1)
    log = torch.log(spectrum.pow(2).sum(-1) + 1e-6) / 2
    return torch.irfft(torch.stack([log, torch.zeros_like(log)], -1), 1, signal_sizes=(N_FFT,))


def tone(name):
    assert isinstance(name, string_classes)
    pitch = {"low": 300, "middle": 900, "high": 2400}[name] * random.uniform(0.9, 1.1)
    length = random.randint(2000, 4000)
    wave = np.sin(2 * np.pi * pitch * np.arange(length) / RATE) + random.normal(0, 0.5, length)
    return torch.from_numpy(wave)


class Recogniser(nn.Module):
    def __init__(self):
        super(Recogniser, self).__init__()
        self.front = FrontEnd()
        self.rnn = nn.GRU(12, 8, batch_first=True)
        self.out = nn.Linear(8, len(NAMES))

    def forward(self, waves, lengths):
        features = self.front(waves)
        frames = [length // HOP + 1 for length in lengths]
        packed = pack_padded_sequence(features, frames, batch_first=True, enforce_sorted=False)
        hidden, frames = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        last = hidden.gather(1, (frames - 1).view(-1, 1, 1).expand(-1, 1, hidden.size(2)))
        return self.out(last.squeeze(1))


model = Recogniser().double()
for parameter in model.parameters():
    parameter.data.copy_(torch.from_numpy(random.normal(0, 0.2, tuple(parameter.shape))))
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, verbose=True)
for epoch in range(6):
    right, total = 0, 0.0
    for _ in range(5):
        labels = random.randint(0, 3, 9)
        waves = [tone(NAMES[label]) for label in labels]
        lengths = [len(wave) for wave in waves]
        logits = model(nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths)
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (logits.argmax(1).numpy() == labels).sum()
        total += loss.item()
    plateau.step(total)
    print("epoch %d  loss %.6f  right %d of 45" % (epoch, total / 5, right))
print("cepstrum", *("%.6f" % value for value in cepstrum(tone("middle"))[:4]))
