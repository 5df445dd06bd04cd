"""A set of genotypes as data, and how to count, sample, mutate and decode them (paper section 3.1).

A point of a space is its `choices`: one integer per decision, in the order of `Space.decisions`. Policies draw choices,
the journal keeps them, and every tuple that respects the weights of its decisions decodes to a valid genotype, so
nothing has to be repaired.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from random import Random
from typing import Any, Literal, NamedTuple

from spinet.arch.block_spec import EXPANSION, MAX_LEVEL, MIN_LEVEL, BlockSpec
from spinet.arch.genotype import Dangling, Genotype, check_keys
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError, unknown_name
from spinet.fields import Natural, check_fields

Choices = tuple[int, ...]
Phase = Literal["intermediate", "output", "parents", "offset", "kind"]
StemCandidates = Literal["all", "last"]


class Decision(NamedTuple):
    """One choice on the way to a genotype: its phase, the searched block it is for, and the number of options.

    Options of a phase mean the same at every block: the levels of the ordering, finest first; pairs of parents
    counted backwards from the block, (1, 2), (1, 3), (2, 3), (1, 4) ...; offsets and kinds as the space lists them.
    """

    phase: Phase
    block: int
    options: int


@dataclass(frozen=True)
class Space:
    """A set of genotypes over one stem, validated on construction.

    Args:
        name: for people and for the journal.
        stem: blocks of fixed order, as in `Genotype`.
        intermediates: levels of the intermediate blocks, before offsets; their order matters only if not searched.
        outputs: likewise of the output blocks, which come last and are the endpoints.
        permuted: whether the ordering of intermediate and of output blocks is searched.
        window: number of preceding blocks that an intermediate block may take its parents from, the stem's included;
            0 means all. Output blocks may take any block before them. The paper has 5, Google's later spaces 4.
        candidates: which stem blocks may be parents: all, or the last of each level.
        offsets: level adjustments that an intermediate block may take.
        kinds: block kinds that a searched block may take.
        dangling: the rule of `Genotype` for blocks without children.
        scaling: width, depth and head of the networks that the genotypes are meant for.
        source: publication.

    Raises:
        SpinetError: a value is invalid, or the space is empty or holds genotypes that cannot exist.
    """

    name: str
    stem: tuple[BlockSpec, ...]
    intermediates: tuple[int, ...]
    outputs: tuple[int, ...] = (3, 4, 5, 6, 7)
    permuted: bool = True
    window: Natural = 5
    candidates: StemCandidates = "all"
    offsets: tuple[int, ...] = (0,)
    kinds: tuple[str, ...] = ("bottleneck",)
    dangling: Dangling = "paper"
    scaling: Scaling = field(default_factory=Scaling)
    source: str = ""

    def __post_init__(self) -> None:
        where = f"space {self.name!r:.60}"
        check_fields(where, self)
        for kind in self.kinds:
            if kind not in EXPANSION:
                raise unknown_name(f"kind in {where}", kind, EXPANSION)
        for name in ("outputs", "offsets", "kinds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise SpinetError(f"{where}: {name} must be one or more different values, got {values}")
        levels = [level + offset for level in self.intermediates for offset in self.offsets] + [*self.outputs]
        if not all(MIN_LEVEL <= level <= MAX_LEVEL for level in levels):
            raise SpinetError(
                f"{where}: intermediates {self.intermediates} with offsets {self.offsets} and outputs {self.outputs} "
                f"must stay within the levels {MIN_LEVEL} to {MAX_LEVEL}"
            )
        if self.window == 1:
            raise SpinetError(f"{where}: window must be 0 (all blocks) or at least 2, got 1")
        if len(self.stem_candidates) < 2:
            raise SpinetError(f"{where}: two stem blocks are needed as the first parents")
        self.decode(self.sample(Random(0)))  # the genotype checks the stem

    @cached_property
    def blocks(self) -> int:
        """Number of searched blocks."""
        return len(self.intermediates) + len(self.outputs)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The different levels of intermediate and of output blocks, finest first: the options of the ordering."""
        return tuple(sorted(set(self.intermediates))), tuple(sorted(set(self.outputs)))

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions in the order they are taken: ordering, parents, offsets, kinds."""
        inner = range(len(self.intermediates))
        outer = range(len(inner), self.blocks)
        decisions = []
        if self.permuted:
            decisions += [Decision("intermediate", block, len(self.levels[0])) for block in inner]
            decisions += [Decision("output", block, len(self.levels[1])) for block in outer]
        decisions += [Decision("parents", block, math.comb(self.reach(block), 2)) for block in range(self.blocks)]
        if len(self.offsets) > 1:
            decisions += [Decision("offset", block, len(self.offsets)) for block in inner]
        if len(self.kinds) > 1:
            decisions += [Decision("kind", block, len(self.kinds)) for block in range(self.blocks)]
        return tuple(decisions)

    def weights(self, before: Sequence[int]) -> list[int]:
        """Weights of the options of the next decision after `before`; drawing by them is uniform over the space.

        Where the ordering is drawn, an option weighs as many blocks as are left of its level, none if it is used up.
        """
        decision = self.decisions[len(before)]
        if decision.phase not in self.counts:
            return [1] * decision.options
        first = 0 if decision.phase == "intermediate" else len(self.intermediates)
        left = list(self.counts[decision.phase])
        for choice in before[first:]:
            left[choice] -= 1
        return left

    def sample(self, random: Random) -> Choices:
        """Draw choices uniformly over the space."""
        drawn: list[int] = []
        for decision in self.decisions:
            if decision.phase in self.counts:
                left = self.weights(drawn)
                drawn.append(random.choice([option for option, count in enumerate(left) for _ in range(count)]))
            else:
                drawn.append(random.randrange(decision.options))
        return tuple(drawn)

    def mutate(self, choices: Choices, random: Random) -> Choices:
        """Change one decision: another pair, offset or kind; in the ordering, two blocks of different levels swap.

        Raises:
            SpinetError: the space holds one genotype only.
        """
        indices = list(range(len(choices)))
        while indices:
            others = self._alternatives(choices, indices.pop(random.randrange(len(indices))))
            if others:
                return random.choice(others)
        raise SpinetError(f"space {self.name!r} holds a single genotype: there is nothing to mutate")

    def decode(self, choices: Choices) -> Genotype:
        """Build the genotype of `choices`.

        Raises:
            SpinetError: there are more or fewer choices than decisions, or one that is not among the options.
        """
        chosen = self._by_phase(choices)
        inner = len(self.intermediates)
        levels = [*self.intermediates, *self.outputs]
        if self.permuted:
            levels = [self.levels[0][choice] for choice in chosen["intermediate"]]
            levels += [self.levels[1][choice] for choice in chosen["output"]]
        # What is not searched takes its only option; output blocks have no offset.
        offsets = chosen.get("offset", [0] * inner)
        kinds = chosen.get("kind", [0] * self.blocks)
        blocks = tuple(
            BlockSpec(
                levels[block] + (self.offsets[offsets[block]] if block < inner else 0),
                self.kinds[kinds[block]],
                self.pair(block, number),
                endpoint=block >= inner,
            )
            for block, number in enumerate(chosen["parents"])
        )
        return Genotype(self.stem, blocks, self.dangling)

    def size(self, *, labelled: bool = False) -> int:
        """Count the choices of the space, exactly.

        Args:
            labelled: count blocks of one level as different, as the paper's formula `(N-5)! 5! ...` does.
        """
        count = math.prod(decision.options for decision in self.decisions if decision.phase not in self.counts)
        if self.permuted:
            count *= math.factorial(len(self.intermediates)) * math.factorial(len(self.outputs))
            if not labelled:
                count //= math.prod(math.factorial(same) for counts in self.counts.values() for same in counts)
        return count

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts for JSON; `from_dict` reads them back."""
        blocks = [{"level": block.level, "kind": block.kind} for block in self.stem]
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return plain | {"stem": blocks, "scaling": asdict(self.scaling)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Space":
        """Build a space from what `to_dict` gave.

        Raises:
            SpinetError: a key is missing or unknown, or the space is not valid.
        """
        optional = [field.name for field in fields(cls)]
        check_keys("space", data, required=("name", "stem", "intermediates"), optional=optional)
        for block in data["stem"] if isinstance(data["stem"], list) else ():
            check_keys("stem block of a space", block, required=("level", "kind"))
        return cls(**{**data, "scaling": Scaling.from_dict(data.get("scaling", {}))})

    @cached_property
    def counts(self) -> dict[Phase, tuple[int, ...]]:
        """Number of blocks of each of `levels`, by phase of the ordering."""
        inner, outer = self.levels
        return {
            "intermediate": tuple(self.intermediates.count(level) for level in inner),
            "output": tuple(self.outputs.count(level) for level in outer),
        }

    @cached_property
    def stem_candidates(self) -> tuple[int, ...]:
        """Indices of the stem blocks that may be parents."""
        last = {block.level: index for index, block in enumerate(self.stem)}
        return tuple(last.values()) if self.candidates == "last" else tuple(range(len(self.stem)))

    def reach(self, block: int) -> int:
        """Number of blocks that a searched block may choose its parents from."""
        before = len(self.stem_candidates) + block
        return min(before, self.window) if self.window and block < len(self.intermediates) else before

    def pair(self, block: int, number: int) -> tuple[int, int]:
        """Indices of the parents: pair `number` in the order (1, 2), (1, 3), (2, 3), (1, 4) ... backwards."""
        # Pairs with 0 <= near < far are counted by far: the number of a pair is far * (far - 1) / 2 + near.
        far = (1 + math.isqrt(1 + 8 * number)) // 2
        near = number - far * (far - 1) // 2
        return self.back(block, far + 1), self.back(block, near + 1)

    def back(self, block: int, steps: int) -> int:
        """Index of the block that lies `steps` candidates before a searched block."""
        index, stem = len(self.stem_candidates) + block - steps, self.stem_candidates
        return stem[index] if index < len(stem) else index - len(stem) + len(self.stem)

    def _alternatives(self, choices: Choices, index: int) -> list[Choices]:
        decision, chosen = self.decisions[index], choices[index]
        if decision.phase not in self.counts:
            others = (option for option in range(decision.options) if option != chosen)
            return [(*choices[:index], option, *choices[index + 1 :]) for option in others]
        swaps = []
        for other, another in enumerate(self.decisions):
            if another.phase == decision.phase and choices[other] != chosen:
                swapped = list(choices)
                swapped[index], swapped[other] = choices[other], chosen
                swaps.append(tuple(swapped))
        return swaps

    def _by_phase(self, choices: Choices) -> dict[Phase, list[int]]:
        """Validate choices and group them by phase."""
        if len(choices) != len(self.decisions):
            raise SpinetError(f"space {self.name!r} has {len(self.decisions)} decisions, found {len(choices)} choices")
        chosen: defaultdict[Phase, list[int]] = defaultdict(list)
        for index, (decision, choice) in enumerate(zip(self.decisions, choices, strict=True)):
            if type(choice) is not int or not 0 <= choice < decision.options:
                raise SpinetError(
                    f"space {self.name!r}: choice {index} ({decision.phase} of block {decision.block}) must be an "
                    f"integer from 0 to {decision.options - 1}, got {choice!r}"
                )
            chosen[decision.phase].append(choice)
        for phase, counts in self.counts.items() if self.permuted else ():
            part = chosen[phase]
            if tuple(map(part.count, range(len(counts)))) != counts:
                raise SpinetError(f"space {self.name!r}: the {phase} levels {(*part,)} do not use every block once")
        return chosen
