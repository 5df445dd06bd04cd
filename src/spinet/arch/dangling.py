"""The rules by which blocks that feed nothing join an endpoint (`Genotype.dangling`; paper section 3.3)."""

from collections.abc import Sequence

from spinet.arch.block_spec import BlockSpec


def merges_tf(blocks: Sequence[BlockSpec]) -> dict[int, tuple[int, ...]]:
    """Return what joins each endpoint by the released code: whatever fits and has no consumer when it is built."""
    consumers = [0] * len(blocks)
    merges: dict[int, tuple[int, ...]] = {}
    for index, block in enumerate(blocks):
        for parent in block.parents:
            consumers[parent] += 1
        if not block.endpoint or not block.parents:  # in the stem nothing is summed
            continue
        # Equal level and expansion is what equal width and equal channels mean at every image size.
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
    """Return what joins each endpoint by the paper: intermediate blocks of its level that nothing uses at all."""
    used = {parent for block in blocks for parent in block.parents}
    dangling = [i for i, block in enumerate(blocks) if i not in used and block.parents and not block.endpoint]
    merges: dict[int, tuple[int, ...]] = {}
    for index, block in enumerate(blocks):
        # A dangling block behind the endpoint of its level may depend on it, so it cannot join: it is pruned.
        merged = tuple(i for i in dangling if i < index and blocks[i].level == block.level)
        if block.endpoint and merged:
            merges[index] = merged
    return merges
