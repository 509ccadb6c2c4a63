"""Snippets over the whole surface answer as Keras 2.2.4 or 2.3.1 does, whose answers were recorded."""

from __future__ import annotations

import pytest
from answers_of_keras2 import NAMES, answer, recorded, same, snippets

from kcompile.run import as_keras


@pytest.mark.parametrize("name", NAMES)
def test_snippets_answer_as_keras_2_does(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted, wrong = recorded(name), []
    with as_keras("2"):
        import keras

        before = keras.backend.image_data_format(), keras.backend.epsilon()
        for snippet in snippets(name):
            found = answer(snippet, keras)
            if not any(same(found, one) for one in wanted[snippet]):
                wrong.append(f"{snippet}\n    ours: {found}\n    Keras: {wanted[snippet]}")
        keras.backend.clear_session()
        assert before == (keras.backend.image_data_format(), keras.backend.epsilon())
    assert not wrong, "\n".join(wrong)
    assert len(wanted) > 20
