"""Random choices of a case, all from its number."""

import numpy as np


class Dice:
    """A seeded generator with the few questions that the cases ask."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, choices, weights=None):
        """One of the choices."""
        choices = list(choices)
        if weights is not None:
            weights = np.array(weights, dtype=float) / np.sum(weights)
        return choices[int(self.rng.choice(len(choices), p=weights))]

    def some(self, choices, least: int, most: int) -> list:
        """Between ``least`` and ``most`` of the choices, in random order, none twice."""
        choices = list(choices)
        number = min(len(choices), self.number(least, most))
        return [choices[k] for k in self.rng.permutation(len(choices))[:number]]

    def number(self, least: int, most: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(least, most + 1))
