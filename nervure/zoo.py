"""Models that come with nervure, small and classical: names for the command line, and definitions to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .frontend import nn

__all__ = ["MLP", "MODELS", "VGG", "CharLSTM", "CharRNN", "LeNet5", "Perceptron10"]


class Perceptron10(nn.Module):
    """One linear layer over 28 x 28 pixels: a score for each of ten digits."""

    inputs = ("f32[B,784]",)

    def __init__(self) -> None:
        self.fc = nn.Linear(784, 10)

    def __call__(self, x: Any) -> Any:
        return self.fc(x)


class MLP(nn.Module):
    """Two hidden layers of 512 over 28 x 28 pixels."""

    inputs = ("f32[B,784]",)

    def __init__(self) -> None:
        self.fc1 = nn.Linear(784, 512)
        self.fc2 = nn.Linear(512, 512)
        self.fc3 = nn.Linear(512, 10)

    def __call__(self, x: Any) -> Any:
        x = nn.relu(self.fc1(x))
        x = nn.relu(self.fc2(x))
        return self.fc3(x)


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max pooling."""

    inputs = ("f32[B,1,28,28]",)

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def __call__(self, x: Any) -> Any:
        x = nn.max_pool2d(nn.relu(self.conv1(x)), 2)
        x = nn.max_pool2d(nn.relu(self.conv2(x)), 2)
        x = nn.flatten(x)
        x = nn.relu(self.fc1(x))
        x = nn.relu(self.fc2(x))
        return self.fc3(x)


class VGG(nn.Module):
    """Three blocks of two padded 3 x 3 convolutions and a pool on 32 x 32 colour images, then one linear layer."""

    inputs = ("f32[B,3,32,32]",)

    def __init__(self) -> None:
        widths = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
        self.convs = nn.ModuleList([nn.Conv2d(before, after, 3, padding=1) for before, after in widths])
        self.fc = nn.Linear(4096, 10)

    def __call__(self, x: Any) -> Any:
        for k, conv in enumerate(self.convs):
            x = nn.relu(conv(x))
            if k % 2:
                x = nn.max_pool2d(x, 2)
        return self.fc(nn.flatten(x))


class CharRNN(nn.Module):
    """A vanilla RNN over one-hot characters of an alphabet of 65, 50 steps, and a linear layer at each step."""

    inputs = ("f32[50,B,65]",)

    def __init__(self) -> None:
        self.rnn = nn.RNN(65, 256)
        self.fc = nn.Linear(256, 65)

    def __call__(self, x: Any) -> Any:
        states, _ = self.rnn(x)
        return self.fc(states)


class CharLSTM(nn.Module):
    """A language model of ASCII characters: an embedding, an LSTM over 50 steps, scores of the next character at each.

    `nervure train char-lstm --data TEXT.txt` trains it.
    """

    inputs = ("i64[B,50]",)

    def __init__(self) -> None:
        self.embedding = nn.Embedding(128, 64)
        self.lstm = nn.LSTM(64, 256, batch_first=True, forget_bias=1.0)
        self.fc = nn.Linear(256, 128)

    def __call__(self, characters: Any) -> Any:
        states, _ = self.lstm(self.embedding(characters))
        return self.fc(states)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": Perceptron10,
    "mlp": MLP,
    "lenet": LeNet5,
    "vgg": VGG,
    "char-rnn": CharRNN,
    "char-lstm": CharLSTM,
}
"""By the name that the command line takes."""
