import pytest
import torch

from spinet.fuse.formats import EXACT, HALF, PLAIN, best_format
from spinet.fuse.fuse import fuse


@pytest.mark.slow
def test_the_format_of_a_cpu_is_one_that_the_network_computes_in(tiny_detector):
    model, cpu = tiny_detector.eval(), torch.device("cpu")

    chosen = best_format(model, 64, cpu, runs=1)
    exact = best_format(model, 64, cpu, bf16=False, runs=1)

    assert chosen in (EXACT, HALF, PLAIN)
    assert exact in (EXACT, PLAIN)
    logits, _ = fuse(model, **chosen._asdict())(torch.zeros(1, 3, 64, 64))
    assert logits.dtype == chosen.dtype


def test_devices_that_are_not_known_get_what_works_everywhere(tiny_detector):
    assert best_format(tiny_detector.eval(), 64, torch.device("mps")) == PLAIN
