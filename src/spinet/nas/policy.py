"""Learns a distribution over a space from rewards: PPO and REINFORCE, with any network for the distribution."""

import math
from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from spinet.nas.policy_networks import Controller, FactoredNetwork, PolicyNetwork
from spinet.nas.settings import PolicySettings
from spinet.nas.space import Choices, Space
from spinet.nas.trial import Outcome, Proposal, Trial


class LogWeights:
    """The logarithms of `Space.weights`: minus infinity for illegal options.

    Added to logits of zero they make sampling uniform over the space.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._ordering = [
            index for index, decision in enumerate(space.decisions) if decision.phase in ("intermediate", "output")
        ]
        widest = max(decision.options for decision in space.decisions)
        self._equal = torch.full((len(space.decisions), widest), -math.inf)
        for index, decision in enumerate(space.decisions):
            self._equal[index, : decision.options] = 0.0

    def next(self, before: Sequence[int]) -> Tensor:
        """Return the log-weights of the decision after `before`, `(options,)`."""
        return torch.tensor(_logs(self._space.weights(before)))

    def whole(self, points: Sequence[Choices]) -> Tensor:
        """Return the log-weights of all decisions of whole points, `(N, D, O)`."""
        weights = self._equal.repeat(len(points), 1, 1)
        for index in self._ordering:
            logs = [_logs(self._space.weights(choices[:index])) for choices in points]
            weights[:, index, : len(logs[0])] = torch.tensor(logs)
        return weights


class Policy:
    """A distribution over a space, trained by policy gradient (Schulman et al. 2017, arXiv 1707.06347).

    Outcomes are collected until a batch is full, then learned from with the probabilities that they were proposed
    with, which are in their notes. So their order decides what is learned, and nothing else does: neither time nor any
    generator except the one given to `ask`.
    """

    def __init__(self, space: Space, settings: PolicySettings) -> None:
        self.space = space
        network = FactoredNetwork(space) if settings.network == "factored" else Controller(space, settings)
        self.network: PolicyNetwork = network
        self._settings = settings
        self._weights = LogWeights(space)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, foreach=False)
        self._version = 0  # number of updates
        self._baseline: float | None = None
        self._batch: list[tuple[Choices, list[float], float]] = []  # choices, log-probabilities, advantage or reward

    @torch.no_grad()
    def ask(self, random: Random) -> Proposal:
        """Sample a point; the notes hold the log-probability of each choice and the entropy of the policy, in nats."""
        walk = self.network.walk()
        logits = next(walk)
        chosen: list[int] = []
        notes: list[float] = []
        entropy = 0.0
        for decision in self.space.decisions:
            if chosen:
                logits = walk.send(chosen[-1])
            log_probs = F.log_softmax(logits + self._weights.next(chosen), -1)
            probs, logs = log_probs.exp().tolist(), log_probs.tolist()
            chosen += random.choices(range(decision.options), probs)
            notes.append(float(f"{logs[chosen[-1]]:.9g}"))  # nine digits are enough to hold a float32 exactly
            entropy -= sum(prob * log for prob, log in zip(probs, logs, strict=True) if prob)
        return Proposal(
            tuple(chosen), notes={"log_probs": notes, "entropy": round(entropy, 3), "version": self._version}
        )

    def asked(self, trial: Trial) -> None:
        """Do nothing: the notes of the trial hold everything."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Learn, if this completes a batch; failures and stale trials are skipped."""
        if outcome.reward is None or self._version - trial.notes["version"] > self._settings.max_staleness:
            return
        gain = outcome.reward
        if self._settings.advantage == "moving":
            before = gain if self._baseline is None else self._baseline
            decay = self._settings.baseline_decay
            gain, self._baseline = gain - before, decay * before + (1 - decay) * gain
        self._batch.append((trial.choices, list(trial.notes["log_probs"]), gain))
        if len(self._batch) == self._settings.batch:
            self._learn()
            self._batch = []

    def log_probs(self, points: Sequence[Choices]) -> tuple[Tensor, Tensor]:
        """Return the log-probability of every choice, and the entropy in nats of every decision: `(N, D)` each."""
        return self._log_probs(torch.tensor(points), self._weights.whole(points))

    def loss(self, choices: Tensor, weights: Tensor, behaviour: Tensor, advantages: Tensor) -> Tensor:
        """Return PPO's loss: summed over decisions, mean over points, minus the entropy bonus.

        Args:
            choices: `(N, D)`.
            weights: log-weights, `(N, D, O)`.
            behaviour: log-probabilities that the choices were sampled with, `(N, D)`.
            advantages: `(N,)`.
        """
        log_probs, entropies = self._log_probs(choices, weights)
        ratios, gains = (log_probs - behaviour).exp(), advantages[:, None]
        surrogate = ratios * gains
        if self._settings.clip is not None:
            clipped = ratios.clamp(1 - self._settings.clip, 1 + self._settings.clip)
            surrogate = torch.minimum(surrogate, clipped * gains)
        return -(surrogate + self._settings.entropy * entropies).sum(1).mean()

    def _learn(self) -> None:
        points, behaviours, gains = zip(*self._batch, strict=True)
        choices, weights = torch.tensor(points), self._weights.whole(points)
        behaviour = torch.tensor(behaviours)
        advantages = torch.tensor(gains, dtype=torch.float64)
        if self._settings.advantage == "batch":
            advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
        for _ in range(self._settings.epochs):
            self._optimizer.zero_grad()
            self.loss(choices, weights, behaviour, advantages.float()).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        self._version += 1

    def _log_probs(self, choices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = F.log_softmax(self.network.logits(choices) + weights, -1)
        chosen = log_probs.gather(-1, choices[..., None]).squeeze(-1)
        possible = log_probs.masked_fill(weights.isneginf(), 0.0)
        return chosen, -(log_probs.exp() * possible).sum(-1)


def _logs(weights: Sequence[int]) -> list[float]:
    return [math.log(weight) if weight else -math.inf for weight in weights]
