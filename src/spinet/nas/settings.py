"""Settings of the strategies, by name."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from msgspec import Meta

from spinet.errors import SpinetError
from spinet.fields import Count, Name, Natural, NonNegative, Positive, check_fields


@dataclass(frozen=True)
class StrategySettings:
    """Base class of the settings of strategies: a name, for people and for the journal.

    Raises:
        SpinetError: a value is out of range.
    """

    name: Name

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and numbers for JSON."""
        return asdict(self)

    def __post_init__(self) -> None:
        check_fields(f"strategy {self.name!r}", self)


@dataclass(frozen=True)
class RandomSettings(StrategySettings):
    """Settings of `RandomSearch`, which has none."""


@dataclass(frozen=True)
class EvolutionSettings(StrategySettings):
    """Settings of `RegularizedEvolution`.

    Args:
        population: number of most recent trials that may be parents; as many are drawn at random first.
        sample: number of them in a tournament.
    """

    population: Count = 100
    sample: Count = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample > self.population:
            raise SpinetError(
                f"strategy {self.name!r}: sample must be at most the population {self.population}, got {self.sample}"
            )


@dataclass(frozen=True)
class PolicySettings(StrategySettings):
    """Settings of the strategies that learn a distribution over the space (`policy.Policy`).

    Args:
        network: the paper's LSTM, or one table of logits per decision.
        lr: learning rate of Adam.
        batch: trials per update.
        epochs: passes over them.
        clip: PPO keeps the ratio of new to old probability of each decision within `1 - clip` and `1 + clip`; None
            does not clip. One epoch without clip is REINFORCE.
        entropy: weight of the entropy bonus of the decisions, in nats.
        advantage: standardized over the batch, or reward minus the moving average of all so far.
        baseline_decay: of that moving average.
        max_staleness: trials proposed more updates ago than this are not learned from.
        hidden: units of the LSTM, and the length of its embeddings.
        init: initial weights are uniform between `-init` and `init`, except the last layers, which are zero.
        seed: of the initial weights.
    """

    network: Literal["lstm", "factored"] = "lstm"
    lr: Positive = 3e-3
    batch: Count = 10
    epochs: Count = 4
    clip: Positive | None = 0.2
    entropy: NonNegative = 0.05
    advantage: Literal["batch", "moving"] = "batch"
    baseline_decay: Annotated[float, Meta(ge=0, le=1)] = 0.95
    max_staleness: Natural = 20
    hidden: Count = 100
    init: NonNegative = 0.1
    seed: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.advantage == "batch" and self.batch < 2:
            raise SpinetError(
                f"strategy {self.name!r}: batch must be at least 2 to standardize rewards, got {self.batch}"
            )


@dataclass(frozen=True, kw_only=True)
class HalvingSettings(StrategySettings):
    """Settings of `halving.Halving`.

    Args:
        inner: the strategy that proposes points for the first rung.
        eta: one trial in `eta` is promoted.
        rungs: number of budgets.
    """

    inner: StrategySettings
    name: Name = "halving"
    eta: Annotated[int, Meta(ge=2)] = 3
    rungs: Count = 2


# Tuned on the planted optimum of benchmarks/planted_optimum.py; what was tried is in docs/log.md.
_CONTROLLER = PolicySettings("controller")

# The numbers of `controller-paper` are those of NASNet (arXiv 1707.07012, appendix A.2), whose controller the paper
# names; clip and epochs of its PPO were never published and are ours.
STRATEGIES: dict[str, StrategySettings] = {
    settings.name: settings
    for settings in (
        RandomSettings("random"),
        EvolutionSettings("evolution"),
        EvolutionSettings("evolution-small", population=50, sample=10),
        _CONTROLLER,
        replace(_CONTROLLER, name="controller-paper", lr=3.5e-4, batch=20, entropy=1e-5, advantage="moving"),
        replace(_CONTROLLER, name="reinforce", epochs=1, clip=None),
        PolicySettings("factored", network="factored", lr=0.05, entropy=1e-3),
    )
}
