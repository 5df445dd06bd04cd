"""Which genotypes exist, as data; and how to count, draw, mutate, decode and encode them (paper section 3.1).

A point of a space is its `choices`: one whole number a decision, in the order of `Space.decisions`. Policies draw
choices, the journal keeps them, and every tuple that respects the weights of its decisions decodes to a valid
genotype, so nothing has to be repaired.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from random import Random
from typing import Any, Literal, NamedTuple, get_args

from spinet.arch.block_spec import EXPANSION, MAX_LEVEL, MIN_LEVEL, BlockSpec
from spinet.arch.genotype import Dangling, Genotype, check_keys
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError, unknown_name

Choices = tuple[int, ...]
Phase = Literal["intermediate", "output", "parents", "offset", "kind"]
StemCandidates = Literal["all", "last"]


class Decision(NamedTuple):
    """One choice on the way to a genotype: what it settles, for which searched block, among how many options.

    Options of a phase mean the same at every block: the levels of the ordering, finest first; pairs of parents
    counted backwards from the block, (1, 2), (1, 3), (2, 3), (1, 4) ...; offsets and kinds as the space lists them.
    """

    phase: Phase
    block: int
    options: int


@dataclass(frozen=True)
class Space:
    """A set of genotypes over one stem, checked once, at birth.

    Args:
        name: for people and for the journal.
        stem: blocks of fixed order, as in `Genotype`.
        intermediates: levels of the intermediate blocks, before offsets; their order counts if it is not searched.
        outputs: levels of the output blocks, which come last and are the endpoints; likewise.
        permuted: whether the ordering of intermediate and of output blocks is searched.
        window: number of last blocks that an intermediate block may take its parents from, the stem's included; 0
            means all. Output blocks may take any block before them. The paper has 5, Google's later spaces 4.
        candidates: which stem blocks may be parents: all, or the last of each level.
        offsets: level adjustments that an intermediate block may take.
        kinds: block kinds that a searched block may take.
        dangling: the rule of `Genotype` for blocks that feed nothing.
        scaling: width, depth and head of the networks that the genotypes are meant for.
        source: where the space was published.

    Raises:
        SpinetError: the space is empty or holds genotypes that cannot exist; the sentence says why.
    """

    name: str
    stem: tuple[BlockSpec, ...]
    intermediates: tuple[int, ...]
    outputs: tuple[int, ...] = (3, 4, 5, 6, 7)
    permuted: bool = True
    window: int = 5
    candidates: StemCandidates = "all"
    offsets: tuple[int, ...] = (0,)
    kinds: tuple[str, ...] = ("bottleneck",)
    dangling: Dangling = "paper"
    scaling: Scaling = field(default_factory=Scaling)
    source: str = ""

    def __post_init__(self) -> None:
        for each in ("stem", "intermediates", "outputs", "offsets", "kinds"):
            object.__setattr__(self, each, tuple(getattr(self, each)))
        self._check()
        self.decode(self.sample(Random(0)))  # the genotype checks the stem

    def _check(self) -> None:
        where = f"space {self.name!r:.60}"
        self._check_types(where)
        for name, values in (("candidates", StemCandidates), ("dangling", Dangling)):
            if getattr(self, name) not in get_args(values):
                raise unknown_name(f"{name} in {where}", str(getattr(self, name)), get_args(values))
        for kind in self.kinds:
            if kind not in EXPANSION:
                raise unknown_name(f"kind in {where}", str(kind), EXPANSION)
        for name in ("outputs", "offsets", "kinds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise SpinetError(f"{where}: {name} {values} must be at least one, all different")
        levels = [level + offset for level in self.intermediates for offset in self.offsets] + [*self.outputs]
        if not all(type(level) is int and MIN_LEVEL <= level <= MAX_LEVEL for level in levels):
            raise SpinetError(
                f"{where}: intermediates {self.intermediates} with offsets {self.offsets} and outputs {self.outputs} "
                f"leave the levels {MIN_LEVEL} to {MAX_LEVEL}"
            )
        if type(self.window) is not int or self.window == 1 or self.window < 0:
            raise SpinetError(f"{where}: window {self.window!r} is neither 0 nor a whole number of 2 or more")
        if len(self._stem_candidates) < 2:
            raise SpinetError(f"{where}: two stem blocks are needed as the first parents")

    def _check_types(self, where: str) -> None:
        for name, kind, what in (
            ("name", str, "a text"),
            ("source", str, "a text"),
            ("permuted", bool, "true or false"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise SpinetError(f"{where}: {name} {getattr(self, name)!r:.60} is not {what}")
        for name in ("intermediates", "outputs", "offsets"):
            if not all(type(value) is int for value in getattr(self, name)):
                raise SpinetError(f"{where}: {name} {getattr(self, name)!r:.60} are not whole numbers")
        for kind_name in (*self.kinds, *(block.kind for block in self.stem)):
            if not isinstance(kind_name, str):
                raise SpinetError(f"{where}: kind {kind_name!r:.60} is not a text")
        for block in self.stem:
            if type(block.level) is not int:
                raise SpinetError(f"{where}: level {block.level!r:.60} of a stem block is not a whole number")

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
        found = []
        if self.permuted:
            found += [Decision("intermediate", block, len(self.levels[0])) for block in inner]
            found += [Decision("output", block, len(self.levels[1])) for block in outer]
        found += [Decision("parents", block, math.comb(self._reach(block), 2)) for block in range(self.blocks)]
        if len(self.offsets) > 1:
            found += [Decision("offset", block, len(self.offsets)) for block in inner]
        if len(self.kinds) > 1:
            found += [Decision("kind", block, len(self.kinds)) for block in range(self.blocks)]
        return tuple(found)

    def weights(self, before: Sequence[int]) -> list[int]:
        """Weights of the options of the next decision after `before`; drawing by them is uniform over the space.

        Where the ordering is drawn, an option weighs as many blocks as are left of its level, none if it is used up.
        """
        decision = self.decisions[len(before)]
        if decision.phase not in ("intermediate", "output"):
            return [1] * decision.options
        first = 0 if decision.phase == "intermediate" else len(self.intermediates)
        left = list(self._counts[decision.phase])
        for choice in before[first:]:
            left[choice] -= 1
        return left

    def sample(self, random: Random) -> Choices:
        """Draw choices uniformly over the space."""
        drawn: list[int] = []
        for decision in self.decisions:
            if decision.phase in ("intermediate", "output"):
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
        places = list(range(len(choices)))
        while places:
            place = places.pop(random.randrange(len(places)))
            others = self._alternatives(choices, place)
            if others:
                return random.choice(others)
        raise SpinetError(f"space {self.name!r} holds a single genotype: there is nothing to mutate")

    def decode(self, choices: Choices) -> Genotype:
        """Build the genotype of `choices`.

        Raises:
            SpinetError: there are more or fewer choices than decisions, or one that is not among the options.
        """
        self._check_choices(choices)
        levels, parents, offsets, kinds = self._split(choices)
        blocks = tuple(
            BlockSpec(
                levels[block] + (self.offsets[offsets[block]] if block < len(offsets) else 0),
                self.kinds[kinds[block]],
                self._pair(block, parents[block]),
                endpoint=block >= len(self.intermediates),
            )
            for block in range(self.blocks)
        )
        return Genotype(self.stem, blocks, self.dangling)

    def encode(self, genotype: Genotype) -> Choices:
        """Return choices that decode to the blocks of `genotype`: the first ones, where several do.

        Raises:
            SpinetError: the space does not hold the genotype; the sentence names the block.
        """
        if genotype.stem != self.stem or len(genotype.blocks) != self.blocks or genotype.damage != "none":
            raise SpinetError(
                f"space {self.name!r} does not hold this genotype: it has another stem or not {self.blocks} blocks"
            )
        inner = len(self.intermediates)
        for block, spec in enumerate(genotype.blocks):
            if spec.endpoint != (block >= inner):
                raise self._outside(block, "intermediate blocks come first, then the endpoints")
            if spec.kind not in self.kinds:
                raise self._outside(block, f"kind {spec.kind} is none of {', '.join(self.kinds)}")
        levels = [spec.level for spec in genotype.blocks]
        base = self._base_levels(levels[:inner])
        if base is None or sorted(levels[inner:]) != sorted(self.outputs):
            raise SpinetError(f"space {self.name!r} does not hold this genotype: no ordering gives levels {levels}")
        if not self.permuted and (base != self.intermediates or tuple(levels[inner:]) != self.outputs):
            raise SpinetError(f"space {self.name!r} does not hold this genotype: its ordering is fixed")
        ordering = [self.levels[0].index(level) for level in base]
        ordering += [self.levels[1].index(level) for level in levels[inner:]]
        choices = ordering if self.permuted else []
        choices += [self._pair_number(block, spec.parents) for block, spec in enumerate(genotype.blocks)]
        if len(self.offsets) > 1:
            choices += [self.offsets.index(level - start) for level, start in zip(levels, base, strict=False)]
        if len(self.kinds) > 1:
            choices += [self.kinds.index(spec.kind) for spec in genotype.blocks]
        return tuple(choices)

    def size(self, *, labelled: bool = False) -> int:
        """Count the choices of the space, exactly.

        Args:
            labelled: count blocks of one level as different, as the paper's formula `(N-5)! 5! ...` does.
        """
        count = 1
        for decision in self.decisions:
            if decision.phase not in ("intermediate", "output"):
                count *= decision.options
        if self.permuted:
            count *= math.factorial(len(self.intermediates)) * math.factorial(len(self.outputs))
            if not labelled:
                count //= math.prod(math.factorial(same) for counts in self._counts.values() for same in counts)
        return count

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts for JSON; `from_dict` reads them back."""
        blocks = [{"level": block.level, "kind": block.kind} for block in self.stem]
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return plain | {"stem": blocks, "scaling": asdict(self.scaling)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Space":
        """Build a space from what `to_dict` gave.

        Raises:
            SpinetError: a key is missing or unknown, or the space is not valid.
        """
        optional = [each.name for each in fields(cls)]
        check_keys("space", data, required=("name", "stem", "intermediates"), optional=optional)
        for key in ("stem", "intermediates", "outputs", "offsets", "kinds"):
            if key in data and (not isinstance(data[key], Sequence) or isinstance(data[key], str)):
                raise SpinetError(f"space: {key} {data[key]!r:.60} is not a list")
        for block in data["stem"]:
            check_keys("stem block of a space", block, required=("level", "kind"))
        stem = tuple(BlockSpec(block["level"], block["kind"]) for block in data["stem"])
        return cls(**{**data, "stem": stem, "scaling": Scaling.from_dict(data.get("scaling", {}))})

    @cached_property
    def _counts(self) -> dict[Phase, tuple[int, ...]]:
        inner, outer = self.levels
        return {
            "intermediate": tuple(self.intermediates.count(level) for level in inner),
            "output": tuple(self.outputs.count(level) for level in outer),
        }

    @cached_property
    def _stem_candidates(self) -> tuple[int, ...]:
        last = {block.level: index for index, block in enumerate(self.stem)}
        return tuple(last.values()) if self.candidates == "last" else tuple(range(len(self.stem)))

    def _reach(self, block: int) -> int:
        """From how many blocks a searched block may choose its parents."""
        before = len(self._stem_candidates) + block
        return min(before, self.window) if self.window and block < len(self.intermediates) else before

    def _pair(self, block: int, number: int) -> tuple[int, int]:
        """Block numbers of the parents: pair `number` in the order (1, 2), (1, 3), (2, 3), (1, 4) ... backwards."""
        far = (1 + math.isqrt(1 + 8 * number)) // 2
        near = number - far * (far - 1) // 2
        return self._back(block, far + 1), self._back(block, near + 1)

    def _pair_number(self, block: int, parents: tuple[int, ...]) -> int:
        candidates = [self._back(block, steps) for steps in range(1, self._reach(block) + 1)]
        if not set(parents) <= set(candidates):
            raise self._outside(block, f"parents {parents} are not among the candidates {sorted(candidates)}")
        near, far = sorted(candidates.index(parent) for parent in parents)
        return far * (far - 1) // 2 + near

    def _back(self, block: int, steps: int) -> int:
        """Number of the block that lies `steps` candidates before a searched block."""
        place = len(self._stem_candidates) + block - steps
        stem = self._stem_candidates
        return stem[place] if place < len(stem) else place - len(stem) + len(self.stem)

    def _base_levels(self, levels: list[int]) -> tuple[int, ...] | None:
        """Levels before offsets: the first ordering of the space's levels that the offsets turn into `levels`."""
        left = dict(zip(self.levels[0], self._counts["intermediate"], strict=True))

        def settle(place: int) -> tuple[int, ...] | None:
            if place == len(levels):
                return ()
            for level in left:
                if left[level] and levels[place] - level in self.offsets:
                    left[level] -= 1
                    rest = settle(place + 1)
                    if rest is not None:
                        return (level, *rest)
                    left[level] += 1
            return None

        if not self.permuted:
            fits = all(level - base in self.offsets for level, base in zip(levels, self.intermediates, strict=True))
            return self.intermediates if fits else None
        return settle(0)

    def _split(self, choices: Choices) -> tuple[list[int], Choices, Choices, Choices]:
        """Levels of the ordering, and the choices of parents, offsets and kinds; first options where not searched."""
        inner, count = len(self.intermediates), self.blocks
        levels, rest = [*self.intermediates, *self.outputs], choices
        if self.permuted:
            levels = [self.levels[block >= inner][choice] for block, choice in enumerate(choices[:count])]
            rest = choices[count:]
        parents, rest = rest[:count], rest[count:]
        offsets = (0,) * inner
        if len(self.offsets) > 1:
            offsets, rest = rest[:inner], rest[inner:]
        return levels, parents, offsets, rest if len(self.kinds) > 1 else (0,) * count

    def _alternatives(self, choices: Choices, place: int) -> list[Choices]:
        decision, chosen = self.decisions[place], choices[place]
        if decision.phase not in ("intermediate", "output"):
            others = (option for option in range(decision.options) if option != chosen)
            return [(*choices[:place], option, *choices[place + 1 :]) for option in others]
        found = []
        for other, another in enumerate(self.decisions):
            if another.phase == decision.phase and choices[other] != chosen:
                swapped = list(choices)
                swapped[place], swapped[other] = choices[other], chosen
                found.append(tuple(swapped))
        return found

    def _check_choices(self, choices: Choices) -> None:
        if len(choices) != len(self.decisions):
            raise SpinetError(f"space {self.name!r} has {len(self.decisions)} decisions, found {len(choices)} choices")
        for place, (decision, choice) in enumerate(zip(self.decisions, choices, strict=True)):
            if type(choice) is not int or not 0 <= choice < decision.options:
                raise SpinetError(
                    f"space {self.name!r}: choice {place} ({decision.phase} of block {decision.block}) is {choice!r}, "
                    f"not a whole number from 0 to {decision.options - 1}"
                )
        if not self.permuted:
            return
        inner = len(self.intermediates)
        for phase, part in (("intermediate", choices[:inner]), ("output", choices[inner : self.blocks])):
            if tuple(map(part.count, range(len(self._counts[phase])))) != self._counts[phase]:  # type: ignore[index]
                raise SpinetError(f"space {self.name!r}: the {phase} levels {part} do not use every block once")

    def _outside(self, block: int, why: str) -> SpinetError:
        return SpinetError(f"space {self.name!r} does not hold this genotype: block {block + len(self.stem)}: {why}")
