"""Published archives of every kind, from a server of this machine into the cache."""

import json
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published import random_classifier, random_detector, write_published
from published_rcnn import random_rcnn, write_rcnn
from safetensors.torch import load_file
from tf_writer import write_checkpoint
from weights_server import weights_server

import spinet
from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.scaling import Scaling
from spinet.convert.convert import convert
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_model, read_source, read_weights, save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.hub import fetch, published
from spinet.hub.fetch import local_path

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 2), 64)
NARROW = Scaling(width=0.07, endpoint_channels=6, stem_channels=64, head_channels=5, head_convs=2)
MOBILE = Scaling(
    width=0.2, endpoint_channels=6, stem_channels=1, head_channels=6, head_convs=2, family="mobile", head_separable=True
)


@pytest.fixture
def server():
    with weights_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINET_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def listed(server, cache, tmp_path, monkeypatch):
    """Return a function that puts content on the server and an entry for it into the table."""
    entries = []

    def add(name: str, content: bytes, **facts) -> str:
        server.behaviour.files[f"{name}.tar.gz"] = content
        plain = {"task": "detection", "head": "retinanet", "architectures": [], "dataset": "COCO", "classes": 80}
        plain |= {"image_size": 128, "metrics": {"AP": 40.0}, "source": None, "licence": "Apache-2.0"}
        entries.append({"name": name, **plain, "address": server.url(f"{name}.tar.gz"), **facts})
        table = tmp_path / f"table-{len(entries)}.json"
        table.write_text(json.dumps(entries))
        monkeypatch.setattr(published, "TABLE", table)
        return f"published/{name}"

    return add


@pytest.fixture(scope="module")
def retinanet(tmp_path_factory):
    """A detector and its checkpoint as tensorflow/tpu stores it."""
    architecture = Architecture(load_architecture("spinenet49").genotype, NARROW)
    model = random_detector(architecture, "tpu")
    folder = tmp_path_factory.mktemp("retinanet") / "spinenet-49"
    write_published(folder / "model.ckpt", model, architecture, "tpu", extra={"global_step": np.array(9, "int64")})
    return model, folder


@pytest.fixture(scope="module")
def archive(retinanet):
    return packed(retinanet[1])


def packed(folder: Path) -> bytes:
    file = folder.with_suffix(".tar.gz")
    with tarfile.open(file, "w:gz", compresslevel=1) as content:
        content.add(folder, folder.name)
    return file.read_bytes()


def small_weights(folder: Path) -> bytes:
    torch.manual_seed(0)
    save_weights(folder / "small.safetensors", INFO.create_model().state_dict(), INFO, {"AP": 0.5})
    return (folder / "small.safetensors").read_bytes()


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"} if cache.exists() else set()


@pytest.mark.slow
def test_a_published_detector_is_fetched_once_and_computes_the_same(listed, retinanet, archive, server, cache):
    name = listed("mine", archive)
    loaded, info = spinet.load_detector(name)
    images = torch.rand(1, 3, 128, 128)
    for ours, theirs in zip(loaded(images), retinanet[0](images), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (info.image_size, info.model.activation) == (128, "relu")
    assert names(cache) == {"mine.safetensors", "mine.json"}
    assert read_source(cache / "mine.safetensors")["address"] == server.url("mine.tar.gz")
    assert local_path(name, offline=True) == cache / "mine.safetensors"
    assert len(server.behaviour.asked) == 1


@pytest.mark.slow
def test_conventions_of_the_table_are_stored(listed, archive):
    name = listed("mine", archive, conventions={"activation": "swish", "anchor_scale": 5.0}, image_size=640)
    _, info = read_weights(local_path(name))
    assert (info.model.activation, info.model.anchor_scale, info.image_size) == ("swish", 5.0, 640)


@pytest.mark.slow
def test_a_published_classifier_is_fetched(listed, tmp_path):
    architecture = Architecture(load_architecture("spinenet49").genotype, NARROW)
    model = random_classifier(architecture)
    write_published(tmp_path / "c" / "model.ckpt", model, architecture, "tpu")
    facts = {"task": "classification", "head": "classifier", "image_size": 224}
    loaded, info = spinet.load_classifier(listed("mine", packed(tmp_path / "c"), **facts))
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images), model(images))
    assert len(info.class_names) == 1001


@pytest.mark.slow
def test_a_published_mask_r_cnn_is_fetched_and_evaluated(listed, tmp_path, write_coco):
    architecture = Architecture(load_architecture("spinenet49").genotype, NARROW)
    model = random_rcnn(architecture, "tpu")
    folder = tmp_path / "maskrcnn"
    write_rcnn(folder / "model.ckpt", model, architecture, "tpu")
    name = listed("masks", packed(folder), task="instance segmentation", head="mask-rcnn", classes=4)

    loaded, info = spinet.load_detector(name)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        for ours, theirs in zip(loaded.backbone(images).values(), model.backbone(images).values(), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert (info.model.head, info.model.roi_align) == ("mask-rcnn", "google")
    outline = [[2, 2, 20, 2, 20, 20, 2, 20]]
    root = write_coco(
        tmp_path / "data",
        split="val",
        categories=[{"id": number, "name": f"class {number}"} for number in range(1, 5)],
        annotations=[{"image_id": 10, "category_id": 1, "bbox": [2, 2, 18, 18], "segmentation": outline}],
    )
    metrics = spinet.evaluate(name, root)
    assert {"AP", "mask/AP"} <= metrics.keys()


@pytest.mark.slow
def test_a_published_mobile_detector_is_fetched(listed, tmp_path):
    architecture = Architecture(load_architecture("spinenet49-mobile").genotype, MOBILE)
    model = random_detector(architecture, "garden")
    write_published(tmp_path / "m" / "ckpt-1", model, architecture, "garden")
    loaded, info = spinet.load_detector(listed("mine", packed(tmp_path / "m"), conventions={"activation": "swish"}))
    images = torch.rand(1, 3, 128, 128)
    for ours, theirs in zip(loaded(images), model(images), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert info.model.squeeze_mode == "mg"


@pytest.mark.slow
def test_a_state_dict_of_the_ports_is_fetched_by_its_address(server, cache, tmp_path):
    architecture = Architecture(load_architecture("spinenet49").genotype, NARROW)
    model = random_detector(architecture, "mmdet", 80)
    server.behaviour.files["latest.pth"] = write_published(
        tmp_path / "latest.pth", model, architecture, "mmdet"
    ).read_bytes()
    loaded, _ = load_model(local_path(server.url("latest.pth")))
    images = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(loaded(images)[0], model(images)[0])


def test_weights_of_ours_are_kept_as_they_are(server, cache, tmp_path):
    content = small_weights(tmp_path)
    server.behaviour.files["a/best.safetensors"] = content
    assert local_path(server.url("a/best.safetensors")).read_bytes() == content
    assert local_path(f"file://{tmp_path}/small.safetensors") == tmp_path / "small.safetensors"


@pytest.mark.slow
def test_an_archive_on_this_disk_is_converted_again_when_it_changed(archive, cache, tmp_path):
    file = tmp_path / "a.tar.gz"
    file.write_bytes(archive)
    first = local_path(f"file://{file}", offline=True)
    written = first.stat().st_mtime_ns
    assert local_path(f"file://{file}").stat().st_mtime_ns == written
    os.utime(file, ns=(1, 1))
    assert local_path(f"file://{file}") == first
    assert first.stat().st_mtime_ns > written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"sha256": "0" * 64}, "another checksum than the one that was published"),
        ({"bytes": 7}, "bytes, but 7 were published"),
        ({"head": "mask-rcnn"}, "published with the head mask-rcnn, but what is there has the head retinanet"),
        ({"architectures": ["spinenet96"]}, "was published as spinenet96, but what is there is a"),
        ({"unsupported": "it has feet"}, "published/mine cannot be fetched: it has feet"),
        ({"address": None}, "published/mine cannot be fetched: no address is known"),
        ({"conventions": {"activation": "blue"}}, "activation"),
    ],
)
def test_what_is_not_as_published_is_refused_and_leaves_nothing(listed, archive, cache, facts, message):
    name = listed("mine", archive, **facts)
    with pytest.raises(SpinetError, match=message) as refused:
        local_path(name)
    assert "\n" not in str(refused.value)
    assert names(cache) == set()


def test_an_archive_of_another_network_is_one_sentence_and_leaves_nothing(listed, cache, tmp_path):
    write_checkpoint(tmp_path / "resnet" / "model.ckpt", {"resnet50/conv2d/kernel": np.zeros((3, 3), "float32")})
    with pytest.raises(SpinetError, match=r"published/mine: resnet/model.ckpt is not a SpineNet checkpoint") as refused:
        local_path(listed("mine", packed(tmp_path / "resnet")))
    assert str(cache) not in str(refused.value)
    assert names(cache) == set()


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_is_one_sentence_and_leaves_nothing(listed, retinanet, cache, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in retinanet[1].iterdir():
        content = file.read_bytes()
        (folder / file.name).write_bytes(content[: len(content) // 2] if ".data" in file.name else content)
    with pytest.raises(SpinetError, match=r"published/mine: .*model.ckpt.data-00000-of-00001") as refused:
        local_path(listed("mine", packed(folder)))
    assert "\n" not in str(refused.value)
    assert names(cache) == set()


def test_weights_of_another_program_are_refused(server, cache):
    server.behaviour.files["x.safetensors"] = b"\x02\0\0\0\0\0\0\0{}"
    with pytest.raises(SpinetError, match="does not hold weights of Spinet: the file is not a Spinet weights file"):
        local_path(server.url("x.safetensors"))
    assert names(cache) == set()


def test_a_corrupt_cache_is_noticed(server, cache, tmp_path, capsys):
    server.behaviour.files["a.safetensors"] = small_weights(tmp_path)
    path = local_path(server.url("a.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpinetError, match="is corrupt: it is not as it was when it was fetched"):
        local_path(server.url("a.safetensors"), offline=True)
    assert local_path(server.url("a.safetensors")).read_bytes() == server.behaviour.files["a.safetensors"]
    assert "fetching it again" in capsys.readouterr().err


def test_public_objects_are_asked_for_where_no_login_is_needed():
    listed_as = "https://storage.cloud.google.com/bucket/a/x.tar.gz?organizationId=4"
    assert fetch._public(listed_as) == "https://storage.googleapis.com/bucket/a/x.tar.gz"
    assert fetch._public("https://a.b/x.tar.gz?c=1") == "https://a.b/x.tar.gz?c=1"


@pytest.mark.parametrize("value", ["soon", "nan", "-1"])
def test_a_timeout_that_is_no_number_is_one_sentence(server, cache, monkeypatch, value):
    monkeypatch.setenv("SPINET_TIMEOUT", value)
    with pytest.raises(SpinetError, match=f"SPINET_TIMEOUT is '{value}'; expected a number of seconds"):
        local_path(server.url("a.safetensors"))


def test_offline_nothing_is_asked(listed, archive, server, cache, monkeypatch):
    name = listed("mine", archive)
    monkeypatch.setenv("SPINET_OFFLINE", "1")
    with pytest.raises(SpinetError, match=r"published/mine is not in the cache .*, and offline nothing is fetched"):
        local_path(name)
    with pytest.raises(SpinetError, match="is not in the cache"):
        local_path(server.url("a.safetensors"))
    assert server.behaviour.asked == []


def test_a_server_that_is_not_there_is_one_sentence(cache):
    with pytest.raises(SpinetError, match=r"127.0.0.1 could not be reached"):
        spinet.load("http://127.0.0.1:9/a.safetensors")
    assert names(cache) == set()


def test_a_cache_that_cannot_be_written_is_one_sentence(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPINET_CACHE", str(tmp_path / "file"))
    with pytest.raises(SpinetError, match=r"could not write to the cache .*\$SPINET_CACHE"):
        local_path(server.url("a.safetensors"))


PROGRAM = "import sys; from spinet.hub.fetch import local_path; print(local_path(sys.argv[1]))"


@pytest.mark.slow
def test_of_several_processes_one_transfers(server, cache, tmp_path):
    content = small_weights(tmp_path)
    server.behaviour.files["a.safetensors"] = content
    server.behaviour.pause, server.behaviour.chunk = 0.05, len(content) // 20
    url = server.url("a.safetensors")
    command = [sys.executable, "-c", PROGRAM, url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({process.communicate()[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0, 0]
    assert len(server.behaviour.asked) == 1


def test_threads_wait_for_each_other_too(server, cache, tmp_path):
    server.behaviour.files["a.safetensors"] = small_weights(tmp_path)
    threads = [threading.Thread(target=local_path, args=(server.url("a.safetensors"),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.behaviour.asked) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("tpu/SpineNet-49S-retinanet", "swish"),
        ("model_garden/RetinaNet-SpineNetMobile-49XS", "swish"),
        ("model_garden/SpineNet-49S", "relu"),
    ],
)
def test_golden_checkpoints_fetched_are_those_converted(golden, listed, tmp_path, name, activation):
    folder = golden(name)
    direct = convert(folder, activation=activation, image_size=256)
    copy = tmp_path / "packed"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    head = "retinanet" if direct.info.class_names else "none"
    facts = {"conventions": {"activation": activation}, "image_size": 256, "head": head}
    file = local_path(listed("golden", packed(copy), architectures=[direct.info.architecture.name], **facts))
    fetched, info = read_weights(file)
    assert info == replace(direct.info)
    assert load_file(file).keys() == direct.weights.keys()
    assert all(torch.equal(fetched[key], value.float()) for key, value in direct.weights.items() if value.ndim)
