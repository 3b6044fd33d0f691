"""Encoders in ONNX files: what the file asks for is given, and what it gives is what it computes."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from memory_archive import smooth_fields

from solquery.config import get_preset
from solquery.encoder import EncoderError, OnnxEncoder, as_encoder, embed

TINY = get_preset("tiny")


def test_without_onnxruntime_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EncoderError, match=r'mine\.onnx is an ONNX file, which needs onnxruntime: pip install "solq'):
        as_encoder(str(tmp_path / "mine.onnx"), TINY)


@pytest.fixture
def write(tmp_path):
    """A file whose network gives the means over the rows of each channel: (N, channels, width)."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import helper

    def make(shape=("N", 1, "H", "W"), flat=True, name="mine.onnx", factor=1.0, kind=onnx.TensorProto.FLOAT):
        nodes = [
            helper.make_node("ReduceMean", ["x", "rows"], ["m"], keepdims=0),
            helper.make_node("Mul", ["m", "factor"], ["y"]),
            helper.make_node("Flatten", ["y"], ["z"], axis=1),
        ]
        numpy_kind = helper.tensor_dtype_to_np_dtype(kind)
        fixed = [
            helper.make_tensor("rows", onnx.TensorProto.INT64, [1], [2]),
            onnx.numpy_helper.from_array(np.array(factor, numpy_kind), "factor"),
        ]
        outputs = [helper.make_tensor_value_info(n, kind, None) for n in (("z", "y") if flat else ("y", "z"))]
        inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
        graph = helper.make_graph(nodes, "means", inputs, outputs, fixed)
        network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        path = tmp_path / name
        path.write_bytes(network.SerializeToString())
        return path

    return make


def test_a_file_embeds_patches(write):
    fields = smooth_fields(5)
    encoder = as_encoder(str(write()), TINY)
    np.testing.assert_allclose(embed(encoder, fields), fields.mean(1), atol=1e-6)
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        np.testing.assert_array_equal(embed(other, fields), embed(encoder, fields))
        assert other.identity() == encoder.identity()


def test_size_channels_batch_and_precision_are_those_of_the_file(write):
    import onnx

    fields = smooth_fields(5)
    fixed = as_encoder(write(shape=(2, 3, 8, 16)), TINY)  # five patches in batches of two
    got = embed(fixed, fields)
    x = torch.from_numpy(fields)[:, None]
    known = torch.nn.functional.interpolate(x, (8, 16), mode="bilinear", antialias=True).mean(2)
    np.testing.assert_allclose(got, known.expand(-1, 3, -1).flatten(1), atol=1e-6)
    half = OnnxEncoder(write(kind=onnx.TensorProto.FLOAT16, name="half.onnx"))
    np.testing.assert_allclose(half(x), fields.mean(1), atol=2e-3)
    scaled = OnnxEncoder(write(shape=("N", 3, "H", "W"), name="three.onnx"), scale=(1, 2, 3), offset=0.5)
    shown = fields.mean(1)
    np.testing.assert_allclose(scaled(x), np.concatenate([k * shown + 0.5 for k in (1, 2, 3)], 1), atol=1e-6)


def test_tokens_are_pooled_where_that_is_asked(write):
    x = torch.from_numpy(smooth_fields(3))[:, None]
    path = write(flat=False, shape=("N", 3, "H", "W"))  # (N, 3, 32) comes first: three tokens
    with pytest.raises(EncoderError, match=r"gives \(3, 32\) for a patch.*pool='mean'"):
        OnnxEncoder(path)(x)
    np.testing.assert_allclose(OnnxEncoder(path, pool="mean")(x), x[:, 0].mean(1), atol=1e-6)
    np.testing.assert_allclose(OnnxEncoder(path, pool="first")(x), x[:, 0].mean(1), atol=1e-6)
    assert OnnxEncoder(path, output="z")(x).shape == (3, 96)
    with pytest.raises(EncoderError, match="has no output 'q'; there are: y, z"):
        OnnxEncoder(path, output="q")


def test_the_fingerprint_is_of_the_file_what_lies_beside_it_and_how_it_is_used(write):
    path = write()
    first = OnnxEncoder(path).fingerprint
    assert OnnxEncoder(path).fingerprint == first
    assert OnnxEncoder(path, scale=2.0).fingerprint != first
    (path.parent / "mine.onnx.data").write_bytes(b"weights")
    beside = OnnxEncoder(path).fingerprint
    assert beside != first
    assert OnnxEncoder(write(factor=2.0)).fingerprint not in (first, beside)


def test_files_that_are_no_encoder_are_told_in_one_line(write, tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(EncoderError, match=r"torn\.onnx cannot be read as ONNX"):
        OnnxEncoder(tmp_path / "torn.onnx")
    with pytest.raises(EncoderError, match="no ONNX file"):
        OnnxEncoder(tmp_path / "missing.onnx")
    with pytest.raises(EncoderError, match="an encoder takes one image"):
        OnnxEncoder(write(shape=("N", 1, "H")))
    with pytest.raises(EncoderError, match="has 1 channels; give scale and offset"):
        OnnxEncoder(write(), scale=(1, 2, 3))
    with pytest.raises(EncoderError, match="pool must be"):
        OnnxEncoder(write(), pool="max")
