import multiprocessing
import os
import sys
import time

import forked
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from spinet.engine.distributed import CpuSyncBatchNorm, ProcessGroup, process_group, synchronise_batch_norm
from spinet.errors import SpinetError
from spinet.models.factory import create_backbone

CPU = torch.device("cpu")


def network_and_data():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5)
    )
    return model, torch.randn(6, 3, 8, 8), torch.randn(6, 5)


def train_a_share(folder):
    torch.set_num_threads(1)
    model, images, weight = network_and_data()
    with process_group(CPU) as group:
        network = DistributedDataParallel(synchronise_batch_norm(model, CPU), broadcast_buffers=False)
        share = slice(group.rank * 3, group.rank * 3 + 3)
        output = network(images[share])
        (output * weight[share]).mean().backward()
        assert group.gather([group.rank]) == [0, 1]
        assert group.broadcast(group.rank) == 0
        gradients = [parameter.grad for parameter in model.parameters()]
        torch.save((output.detach(), gradients, dict(model.named_buffers())), folder / f"rank{group.rank}.pt")
        del network  # before its group


@pytest.mark.slow
def test_synchronised_batch_norm_over_two_processes_equals_one_process_with_all_images(tmp_path):
    forked.group(train_a_share, tmp_path, output=tmp_path / "said")
    parts = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]

    model, images, weight = network_and_data()
    output = model(images)
    (output * weight).mean().backward()

    torch.testing.assert_close(torch.cat([part[0] for part in parts]), output.detach())
    for rank in range(2):
        expected = [parameter.grad for parameter in model.parameters()]
        # The bias before a batch norm has a gradient of zero, so only its rounding is compared.
        torch.testing.assert_close(parts[rank][1], expected, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(parts[rank][2], dict(model.named_buffers()))


def end_or_wait():
    if os.environ["RANK"] == "1":
        sys.exit("the second one failed")
    time.sleep(600)


@pytest.mark.slow
def test_a_process_that_fails_ends_those_that_wait_for_it(tmp_path):
    with pytest.raises(AssertionError, match="the second one failed"):
        forked.group(end_or_wait, output=tmp_path / "said")
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_a_single_process_gathers_and_broadcasts_its_own():
    with process_group(torch.device("cpu")) as group:
        assert group == ProcessGroup()
        assert group.is_main
        assert group.gather([1, 2]) == [1, 2]
        assert group.broadcast("x") == "x"


def test_batch_norms_with_an_activation_inside_keep_it_on_gpus():
    layers = pytest.importorskip("timm.layers")
    model = nn.Sequential(layers.BatchNormAct2d(3), nn.BatchNorm2d(3))

    converted = synchronise_batch_norm(model, torch.device("cuda"))  # no GPU is needed to convert

    assert isinstance(converted[0].act, nn.ReLU)
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in converted)


def test_batch_norms_of_another_library_are_refused_on_cpus_and_not_passed_over():
    pytest.importorskip("timm")
    model = create_backbone("timm/mobilenetv3_small_050-fpn")

    with pytest.raises(SpinetError, match="^BatchNormAct2d cannot be synchronized on CPUs"):
        synchronise_batch_norm(model, torch.device("cpu"))


@pytest.mark.slow
def test_our_own_batch_norms_and_torchvisions_are_all_synchronised():
    model = synchronise_batch_norm(create_backbone("resnet18-fpn"), torch.device("cpu"))

    assert not [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [module for module in model.modules() if isinstance(module, CpuSyncBatchNorm)]
    assert synchronise_batch_norm(model, torch.device("cpu")) is model
