"""The graph of a scale-permuted backbone: blocks, their levels, kinds and parents.

Blocks have one numbering: the stem's first, then the searched ones; `parents` refer to it (paper section 3.1; the same
numbering as in tensorflow/tpu `modeling/architecture/spinenet.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from spinet.arch.block_spec import EXPANSION, MAX_LEVEL, MIN_LEVEL, BlockSpec
from spinet.arch.dangling import merges_paper, merges_tf
from spinet.errors import SpinetError, quoted, unknown_name

Dangling = Literal["tf", "paper", "none"]
Damage = Literal["none", "short", "long", "sequential"]

# Blocks of a graph, connections that are only added, and blocks that are built with their repeats: far beyond any
# published network, and soon built.
MAX_BLOCKS = 1000
# Level of the first stem block: after the first convolution, or after the max-pool that follows it.
STEM_LEVELS = (1, 2)


@dataclass(frozen=True)
class Genotype:
    """A scale-permuted graph, validated on construction.

    Args:
        stem: blocks of fixed order, each fed by the one before it. The first has level 1 or 2 (2 if a max-pool follows
            the first convolution), each of the others the level of the one before or the next.
        blocks: the permuted blocks, each with two different earlier blocks as parents.
        dangling: what happens to a block without consumers. `"tf"` is the released code: when an endpoint is built,
            every block of its level and channels that has no consumer so far is added to it. `"paper"` is global: an
            intermediate block that no later block uses is added to the endpoint of its level, through a resampling if
            channels differ. `"none"` prunes it, unless a block lists it in its `merges`.
        damage: graph damage: the connections that an ablation has cut (paper section 5.5; see
            `spinet.arch.variants.damage`). Unless it is `"none"`, every permuted block has one parent.

    Raises:
        SpinetError: the graph is invalid; the message names the block and the reason.
    """

    stem: tuple[BlockSpec, ...]
    blocks: tuple[BlockSpec, ...]
    dangling: Dangling = "tf"
    damage: Damage = "none"

    def __post_init__(self) -> None:
        # Lists are accepted too, but what is stored must be hashable.
        object.__setattr__(self, "stem", tuple(self.stem))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if self.dangling not in get_args(Dangling):
            raise unknown_name("dangling rule", self.dangling, get_args(Dangling))
        if self.damage not in get_args(Damage):
            raise unknown_name("damage", self.damage, get_args(Damage))
        if not self.stem:
            raise SpinetError("the genotype has no stem block, but needs at least one to feed the others")
        _check_size(self.all_blocks)
        for index, block in enumerate(self.all_blocks):
            _check_block(index, block)
        _check_stem(self.stem)
        for index, block in enumerate(self.blocks, start=len(self.stem)):
            _check_parents(index, block, self.damage)
            _check_merges(index, self.all_blocks, self.dangling)
        _check_endpoints(self.all_blocks)

    @property
    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Stem and permuted blocks in building order; a block is referred to by its index here."""
        return self.stem + self.blocks

    @cached_property
    def endpoints(self) -> dict[int, int]:
        """Level -> index of its endpoint block, finest level first."""
        return dict(sorted((block.level, index) for index, block in enumerate(self.all_blocks) if block.endpoint))

    @cached_property
    def merges(self) -> dict[int, tuple[int, ...]]:
        """Endpoint block -> the dangling blocks that are added to it before its activation."""
        if self.dangling == "none":
            return {index: block.merges for index, block in enumerate(self.all_blocks) if block.merges}
        return merges_tf(self.all_blocks) if self.dangling == "tf" else merges_paper(self.all_blocks)

    @cached_property
    def live(self) -> frozenset[int]:
        """Indices of the blocks that reach an endpoint; the others are neither built nor counted."""
        return self.needed_for(self.endpoints)

    def needed_for(self, levels: Iterable[int]) -> frozenset[int]:
        """Indices of the blocks that the endpoints of `levels` depend on, including these endpoints."""
        live = {self.endpoints[level] for level in levels}
        for index in reversed(range(len(self.all_blocks))):
            if index in live:
                live.update(self.all_blocks[index].parents, self.merges.get(index, ()))
        # The stem is a chain: all stem blocks before a live one feed it.
        last_stem = max(live & set(range(len(self.stem))), default=-1)
        return frozenset(live | set(range(last_stem + 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts for JSON, which `from_dict` reads."""
        damage = {} if self.damage == "none" else {"damage": self.damage}
        return {
            "dangling": self.dangling,
            **damage,
            "stem": [_block_to_dict(block) for block in self.stem],
            "blocks": [_block_to_dict(block) for block in self.blocks],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Genotype":
        """Build a genotype from the output of `to_dict`.

        Raises:
            SpinetError: a key is missing or unknown, or the graph is invalid.
        """
        check_keys("genotype", data, required=("stem", "blocks"), optional=("dangling", "damage"))
        stem = _blocks_from(data["stem"], "stem", 0)
        blocks = _blocks_from(data["blocks"], "blocks", len(stem))
        return cls(stem, blocks, data.get("dangling", "tf"), data.get("damage", "none"))


def check_keys(what: str, data: Any, required: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Raise unless `data` is a mapping with all keys in `required` and none besides `required` and `optional`."""
    if not isinstance(data, Mapping):
        raise SpinetError(f"{what}: expected an object with {', '.join(required)}, found {quoted(data)}")
    for key in required:
        if key not in data:
            raise SpinetError(f"{what}: {key!r} is missing; required are {', '.join(required)}")
    for key in data:
        if key not in (*required, *optional):
            raise unknown_name(f"key in {what}", key, (*required, *optional))


def _check_size(blocks: tuple[BlockSpec, ...]) -> None:
    merges = sum(len(block.merges) for block in blocks)
    if len(blocks) > MAX_BLOCKS or merges > MAX_BLOCKS:
        raise SpinetError(
            f"the genotype has {len(blocks):,} blocks and {merges:,} merges; at most {MAX_BLOCKS:,} of each are "
            "supported"
        )


def _check_block(index: int, block: BlockSpec) -> None:
    if not _is_int(block.level) or not MIN_LEVEL <= block.level <= MAX_LEVEL:
        raise SpinetError(
            f"block {index}: level must be an integer from {MIN_LEVEL} to {MAX_LEVEL}, not {quoted(block.level)}"
        )
    if not isinstance(block.kind, str) or block.kind not in EXPANSION:
        error = unknown_name("kind", block.kind, EXPANSION)
        raise SpinetError(f"block {index}: {error} A kind of one's own has to be registered before it is read.")
    if not isinstance(block.endpoint, bool):
        raise SpinetError(f"block {index}: endpoint must be true or false, not {quoted(block.endpoint)}")


def _check_stem(stem: tuple[BlockSpec, ...]) -> None:
    for index, block in enumerate(stem):
        if block.parents or block.merges:
            raise SpinetError(
                f"block {index}: a stem block has no parents and no merges, not {quoted(block.parents or block.merges)}"
            )
        before = stem[index - 1].level
        allowed = (before, before + 1) if index else STEM_LEVELS
        if block.level not in allowed:
            where = f" after block {index - 1} of level {before}" if index else " for the first block"
            raise SpinetError(
                f"block {index}: stem level must be {allowed[0]} or {allowed[1]}{where}, not {block.level}"
            )


def _check_parents(index: int, block: BlockSpec, damage: Damage) -> None:
    parents = block.parents
    earlier = all(_is_int(parent) and 0 <= parent < index for parent in parents)
    count, allowed = (2, "two different earlier blocks") if damage == "none" else (1, "one earlier block")
    if not earlier or len(parents) != count or len(set(parents)) != count:
        where = "" if damage == "none" else f" with graph damage {damage!r}"
        raise SpinetError(
            f"block {index}: parents must be {allowed} (0 to {index - 1}){where}, not {quoted(tuple(parents))}"
        )


def _check_merges(index: int, blocks: tuple[BlockSpec, ...], dangling: Dangling) -> None:
    block = blocks[index]
    if block.merges and dangling != "none":
        raise SpinetError(
            f"block {index}: merges {quoted(block.merges)} need the dangling rule 'none', not {dangling!r}"
        )
    for merged in block.merges:
        if not _is_int(merged) or not 0 <= merged < index or merged in block.parents or block.merges.count(merged) > 1:
            raise SpinetError(
                f"block {index}: merges must be different earlier blocks other than its parents, "
                f"not {quoted(block.merges)}"
            )
        if blocks[merged].level != block.level:
            raise SpinetError(
                f"block {index}: block {merged} of level {blocks[merged].level} cannot be merged at level {block.level}"
            )


def _check_endpoints(blocks: tuple[BlockSpec, ...]) -> None:
    owner: dict[int, int] = {}
    for index, block in enumerate(blocks):
        if block.endpoint and owner.setdefault(block.level, index) != index:
            first = owner[block.level]
            raise SpinetError(f"block {index}: level {block.level} already has an endpoint, block {first}")
    if not owner:
        raise SpinetError("the genotype has no endpoint: set endpoint to true in at least one block")


def _block_to_dict(block: BlockSpec) -> dict[str, Any]:
    optional = {"parents": list(block.parents), "endpoint": block.endpoint, "merges": list(block.merges)}
    return {"level": block.level, "kind": block.kind} | {key: value for key, value in optional.items() if value}


def _blocks_from(items: Any, where: str, first: int) -> tuple[BlockSpec, ...]:
    blocks = _tuple_from(items, f"genotype: {where!r} must be a list of blocks")
    return tuple(_block_from(item, index) for index, item in enumerate(blocks, start=first))


def _block_from(item: Any, index: int) -> BlockSpec:
    check_keys(f"block {index}", item, required=("level", "kind"), optional=("parents", "endpoint", "merges"))
    parents, merges = (
        _tuple_from(item.get(key, ()), f"block {index}: {key} must be a list of block indices")
        for key in ("parents", "merges")
    )
    return BlockSpec(item["level"], item["kind"], parents, item.get("endpoint", False), merges)


def _tuple_from(items: Any, rule: str) -> tuple[Any, ...]:
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise SpinetError(f"{rule}, not {quoted(items)}")
    if len(items) > MAX_BLOCKS:
        raise SpinetError(f"{rule}, at most {MAX_BLOCKS:,} of them, not {len(items):,}")
    return tuple(items)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
