"""The encoder in the folder of a model, loaded without the rest of it."""

import pytest
import torch

from solquery.encoder.run_folder import EncoderRunError
from solquery.encoder.training import load_encoder
from solquery.model import Model
from solquery.model_files import state_hash
from solquery.model_parts import SHIPPED


def test_the_encoder_of_a_model_is_loaded_without_the_model(tmp_path):
    for name in ("paper", "physical"):  # weights in eight bits, and in float16
        encoder, known = load_encoder(SHIPPED / name), Model.load(name).encoder
        assert not encoder.training and state_hash(encoder) == state_hash(known)
        assert all(
            torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), known.state_dict().values(), strict=True)
        )
    Model.load("physical").save(tmp_path / "alike", encoder_from="physical")
    with pytest.raises(EncoderRunError, match="no encoder of its own"):
        load_encoder(tmp_path / "alike")
