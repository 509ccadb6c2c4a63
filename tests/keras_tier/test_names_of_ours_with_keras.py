"""Every name of ours that Keras 3 has not is free for scripts, but for those that other Kerases have."""

from __future__ import annotations

import pytest

from kcompile import keras3 as ours
from kcompile.keras.names_of_scripts import NAMES

# Those that scripts of Keras 2 and tf.keras know, and those that own layers say of themselves
KNOWN = frozenset(
    """
    add_update assert_input_compatibility autotune_steps_per_execution batch_input_shape batch_size
    build_for_data calls_as_written check_own_steps compiled_loss compiled_metrics computes_in_dtype
    counts_losses distribute_strategy dynamic evaluate_generator finalize_state fit_generator get_input_at
    get_input_mask_at get_input_shape_at get_losses_for get_output_at get_output_mask_at get_output_shape_at
    get_updates_for get_weight_paths given_updates history inbound_nodes input_keys input_mask input_names
    input_shape inputs loss loss_weights masks_of_tensors name_scope nodes_made optimizer outbound_nodes
    output_keys output_mask output_masks output_names output_shape outputs predict_generator random_seed
    reset_states run_internal_graph runs_on_arrays sample_weight_mode semantics standardize_inputs
    state_updates stateful steps_per_execution stop_training subclassed submodules takes_mask takes_texts
    told_of_training to_yaml updates uses_learning_phase vintage wants_floats wants_list with_name_scope
    without_call adopt_layer masks_of_tensors added_losses
    """.split()  # noqa: SIM905
)


def test_names_that_keras_has_not_are_free() -> None:
    keras = pytest.importorskip("keras")

    class Own(ours.Model):
        def call(self, x: object) -> object:
            return x

    class Part(ours.layers.Layer):
        def call(self, x: object) -> object:
            return x

    theirs = {*dir(keras.Model), *dir(keras.layers.Layer), *vars(keras.Sequential()), "name"}
    used = {n for thing in (Own(), Part()) for n in (*dir(thing), *vars(thing))}
    free = {n for n in used if not n.startswith("_")} - theirs - NAMES - KNOWN
    assert not free, sorted(free)
