"""Rules that add blocks without consumers to an endpoint (`Genotype.dangling`; paper section 3.3)."""

from collections.abc import Sequence

from spinet.arch.block_spec import BlockSpec


def merges_tf(blocks: Sequence[BlockSpec]) -> dict[int, tuple[int, ...]]:
    """Return the merges of each endpoint in the released code: all fitting blocks without a consumer so far."""
    consumers = [0] * len(blocks)
    merges: dict[int, tuple[int, ...]] = {}
    for index, block in enumerate(blocks):
        for parent in block.parents:
            consumers[parent] += 1
        if not block.endpoint or not block.parents:  # in the stem nothing is summed
            continue
        # The released code compares width and channels; equal level and expansion is the same at every image size.
        merged = tuple(
            earlier
            for earlier in range(index)
            if consumers[earlier] == 0
            and (blocks[earlier].level, blocks[earlier].expansion) == (block.level, block.expansion)
        )
        for earlier in merged:
            consumers[earlier] += 1
        if merged:
            merges[index] = merged
    return merges


def merges_paper(blocks: Sequence[BlockSpec]) -> dict[int, tuple[int, ...]]:
    """Return the merges of each endpoint in the paper: intermediate blocks of its level that no block ever uses."""
    used = {parent for block in blocks for parent in block.parents}
    dangling = [i for i, block in enumerate(blocks) if i not in used and block.parents and not block.endpoint]
    merges: dict[int, tuple[int, ...]] = {}
    for index, block in enumerate(blocks):
        # A dangling block after the endpoint of its level may depend on it, so it is pruned instead.
        merged = tuple(i for i in dangling if i < index and blocks[i].level == block.level)
        if block.endpoint and merged:
            merges[index] = merged
    return merges
