"""What differs between the Kerases: named questions, and the answer of each vintage.

A layer, model or optimizer has a `vintage`, a name that configurations hold, and asks
`self.semantics.<question>`; no code besides this module compares names of vintages. `TABLE` has a line for
each question and a column for each vintage, so what changes one answer leaves the others alone. What a
question means, and which line of which Keras says so, stands at its field of `Semantics`; tests/keras_tier/
questions.py has a model for each, which is run in the real libraries. Arguments that scripts leave out are no
semantics: their values are in configurations, and `editions` has those that differ.

Vintages: "keras2.2" (Keras 2.2.4), "keras2" (Keras 2.3.1, with the names of results and the weighted losses
of 2.2, which the manual has: docs/keras2.md), "tf_keras" (tf.keras and tf_keras 2.11 to 2.21), "tf_keras2.10"
(tf.keras up to 2.10: the optimizers that are called legacy since), "keras3". A further one is a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Semantics:
    """The answers of one vintage, by question."""

    name: str

    # ---- masks

    # What becomes of a mask that meets a layer which does not support masking.
    # Keras 2: engine/base_layer.py, Layer.compute_mask; tf_keras: base_layer.py, _set_mask_metadata;
    # Keras 3: layers/layer.py, compute_mask.
    unsupported_mask: Literal["raises", "dropped"]
    # Whether the one mask that `compute_mask` gives is that of every output of a layer, or of the first.
    # Keras 2: base_layer.py, __call__; tf_keras and Keras 3: _set_mask_metadata.
    one_mask_for_all: bool
    # A merge's mask is that of the steps where all masks that there are hold, or where any does, and then
    # only if every input has one. Keras 2 and tf_keras: merge.py, compute_mask; Keras 3: base_merge.py.
    merged_masks: Literal["all", "any"]
    # Whether Multiply, Maximum and Minimum leave out values at masked steps: 1, or the other's value, stands
    # for them, and 0 where the product has none. Keras 3: multiply.py; base_merge.py,
    # _apply_merge_op_and_or_mask.
    merges_leave_out_masked: bool
    # Whether operators (x + y, x * 2, x[:, 1:]) keep masks. Keras 2 has none; here they do what the merges
    # and Lambda do. tf_keras: tf_op_layer.py, where no layer supports masks; Keras 3: ops/operation.py.
    operators_keep_masks: bool
    # Whether the mask of a layer's output follows from a mask that the call is given (mask=...), or else from
    # that of the input. Keras 2: base_layer.py, __call__; tf_keras: base_layer.py, _get_input_masks; Keras 3:
    # layers/layer.py, __call__, step 6.
    given_masks_go_on: bool
    # Whether a MultiHeadAttention takes the masks off the tensors that it is called on, so that layers which
    # run later find none there. Keras 3 since 3.8: multi_head_attention.py, call.
    attention_takes_masks: bool
    # Whether a merge takes a list of one tensor.
    merges_one: bool

    # ---- recurrent layers

    # Whether a mask counts where the call has an initial_state. Keras 3 looks for an argument
    # "sequences_mask" then, which `call` has not: layers/layer.py, __call__, step 6.
    mask_with_initial_state: bool
    # What the output is at a masked step: the first state (or the last cell's first), which differs where
    # states do not begin as zeros, or cells are the user's own. Keras 2.2: tensorflow_backend.py, rnn; 2.3,
    # which calls tf.keras' own, and tf_keras: backend.py, rnn; Keras 3: backend/jax/rnn.py (unrolled, and on
    # TensorFlow, as tf_keras has it).
    masked_output: Literal["first state", "last cell's", "previous output"]
    # Whether a Bidirectional that returns sequences merges zeros at masked steps. tf_keras and Keras 3:
    # bidirectional.py, force_zero_output_for_mask.
    bidirectional_zeros_masked: bool
    # Where states come from that nobody gives: they are zeros; or the cell's `get_initial_state` says them,
    # given a batch size and a dtype, or a batch size alone. Keras 2.2 and 2.3: recurrent.py; tf_keras:
    # base_rnn.py; Keras 3: rnn.py; all: RNN.get_initial_state.
    initial_states: Literal["zeros", "of a dtype", "of a size"]
    # Whether a cell's `build` is given the shapes of the constants.
    constants_in_build: bool

    # ---- layers

    # Whether a layer takes floats of any type, as numbers of its own dtype. Keras 2 multiplies no float32 by
    # float64; tf_keras: base_layer.py, _maybe_cast_inputs; Keras 3: layers/layer.py, __call__, step 2.
    layers_cast_floats: bool
    # hard_sigmoid is clip(0.2 x + 0.5), or relu6(x + 3) / 6. Both: activations.py.
    hard_sigmoid: Literal["x / 5", "x / 6"]
    # Where the elements of images enlarged by "bilinear" stand: first corners are matched, or the middles of
    # pixels. Keras 2: tensorflow_backend.py, resize_images; tf_keras and Keras 3: tf.image.resize.
    bilinear: Literal["corners", "middles"]
    # TimeDistributed runs the layer once on all steps as samples, and gives on its mask; or step by step by
    # its `call`, without its activity regularizer and with the input's mask. Both: time_distributed.py.
    time_distributed: Literal["rows", "steps"]
    # TimeDistributed runs a model once more, to ask for its mask: moving statistics move twice, and penalties
    # count twice. tf_keras: time_distributed.py, compute_mask, and functional.py, compute_mask.
    mask_runs_models: bool
    # With which statistics a frozen batch normalisation works in training.
    frozen_batch_norm: Literal["batch", "moving"]
    # Whether statistics of a batch count masked steps: all, or those of no fused kernel (tf_keras:
    # batch_normalization.py, _fused_batch_norm), or never. Keras 3: batch_normalization.py, _moments.
    batch_norm_counts_masked: Literal["yes", "if fused", "no"]
    # What the moving variance follows: the batch's variance; n / (n - 1) of it where TensorFlow has a fused
    # kernel (tf_keras); n / (n - 1 - epsilon) of it (Keras 2: normalization.py), and of what the fused kernel
    # gives, of four axes, which is n / (n - 1) of it already (tensorflow_backend.py,
    # normalize_batch_in_training).
    moving_variance: Literal["biased", "once if fused", "twice if fused"]
    # Whether a moving average is rid of the bias of its zero start, by a second one that begins as zero and
    # that no file has; what it was before does not count then. Keras 2.2: tensorflow_backend.py,
    # moving_average_update (and TensorFlow's moving_averages.py, _zero_debias).
    moving_averages: Literal["plain", "debiased"]
    # What becomes of scores at masked keys: a large number is subtracted; or they are left out, where the
    # products are one function, and are 0, where all are masked too, where scores are written out.
    # tf_keras: multi_head_attention.py and softmax.py, call; Keras 3: multi_head_attention.py,
    # _compute_attention, and softmax.py, call.
    masked_scores: Literal["lowered", "left out"]
    # What a Softmax layer does with a mask: it goes on, or lowers by a large number what it leaves out, or
    # makes 0 of it, also where it leaves out all. tf_keras and Keras 3: softmax.py, call.
    softmax_mask: Literal["ignored", "lowered", "left out"]
    # Whether an EinsumDense has its penalty on outputs, as the projections of a MultiHeadAttention do then,
    # or leaves it out, and the attention has it on its own. tf_keras: einsum_dense.py, __init__.
    projections_penalised: bool
    # What an initializer that scales counts of an EinsumDense's kernel: its axes that are summed over and
    # those of the result, or the last two as any kernel's. Keras 3: einsum_dense.py, build.
    einsum_fans: Literal["of the shape", "of the equation"]
    # What an initializer that scales counts of a vector of n weights: n inputs and outputs, or sqrt(n). Keras
    # 2: initializers.py, _compute_fans; tf_keras and Keras 3: compute_fans.
    vector_fans: Literal["root", "size"]
    # The norm that UnitNormalization takes a smaller one for. tf_keras: unit_normalization.py (of
    # tf.linalg.l2_normalize); Keras 3: ops/nn.py, normalize.
    smallest_norm: Literal["1e-6", "1e-12"]
    # Whether Identity passes masks on. tf_keras: core/identity.py; Keras 3: identity.py, __init__.
    identity_keeps_masks: bool
    # The order of the sizes of LayerNormalization's weights. tf_keras: layer_normalization.py, build, where
    # they are reshaped as they are; Keras 3: layer_normalization.py, __init__ (sorted).
    normalized_axes: Literal["sorted", "as given"]
    # Whether Rescaling and Normalization pass masks on. tf_keras: base_preprocessing_layer.py; Keras 3:
    # rescaling.py and normalization.py, __init__.
    scaling_keeps_masks: bool
    # What GroupNormalization does with a mask: it goes on, or counts too, and must be of single elements.
    # tf_keras: group_normalization.py, _apply_normalization.
    group_norm_mask: Literal["goes on", "counts"]
    # What SpectralNormalization makes of the quotient: the weights, before gradients are taken, or the
    # kernel of this step. Keras 3 on JAX, which keeps no assignment to trained weights; on TensorFlow and
    # in tf_keras the first: spectral_normalization.py, call.
    spectral_kernel: Literal["assigned", "of the step"]
    # What Resizing makes of whole numbers. tf_keras: image_preprocessing.py; Keras 3: resizing.py.
    resized_integers: Literal["floats", "stay"]
    # Which seeds there are. Keras 3: random/seed_generator.py, whose state is of uint32.
    seeds: Literal["any", "of 32 bits"]
    # Whether RandomCrop crops images that are as large on some axis, or resizes them as smaller ones, from
    # where their middle begins. tf_keras: image_preprocessing.py; Keras 3: random_crop.py.
    crops: Literal["what fits", "what is larger"]
    # Whether RandomFlip in both ways draws each way on its own. Keras 3: random_flip.py, _flip_inputs.
    flips: Literal["apart", "together"]
    # Whether RandomContrast draws one factor for a batch, by a factor f from 1 - f to 1 + f, or one for each
    # sample, from 1 to 1 + f. Keras 3: random_contrast.py and base_image_preprocessing_layer.py, _set_factor.
    contrast: Literal["of the batch", "of each sample"]
    # What CategoryEncoding makes of a number that is none of its categories'. tf_keras: category_encoding.py;
    # Keras 3: numerical_utils.py, encode_categorical_inputs.
    categories_out_of_range: Literal["an error", "in none"]
    # Which values of a batch Discretization keeps, of every so many, and whether arrays are cut into batches.
    # tf_keras and Keras 3: discretization.py, summarize.
    quantiles: Literal["first", "last"]
    # What documents StringLookup and IntegerLookup count in an array with one axis. tf_keras:
    # index_lookup.py, update_state; Keras 3: the same, adapt.
    loose_tokens: Literal["of a batch", "each"]
    # What Identity is where the sides differ: squares beside each other (for sides that are multiples), so in
    # the gates of LSTM and GRU alone, or ones on the diagonal. Keras 2.2: initializers.py, Identity; 2.3: the
    # same and recurrent.py, build; tf_keras and Keras 3: Identity.
    identity: Literal["tiled", "gates tiled", "diagonal"]

    # ---- models

    # Setting `trainable` of a model or wrapper sets its own flag, or that of each layer inside too.
    # Keras 2: engine/network.py; tf_keras: base_layer.py, trainable; Keras 3: layers/layer.py, trainable.
    trainable_of_model: Literal["own", "each layer"]
    # Whether a layer of a user's has the layers and variables in its attributes: those that are attributes
    # themselves, or nested in lists and dicts too, whose order is that of their keys, or the one in which
    # they were filled. Keras 2.3: base_layer.py, __setattr__; tf_keras: base_layer.py, _flatten_layers; Keras
    # 3: utils/tracking.py.
    layers_in_layers: Literal["none", "attributes", "nested by key", "nested"]
    # Whether layers in the `call` of a class of Model are told of training where that takes no `training`.
    # Keras 3: backend/tensorflow/trainer.py, train_step.
    training_of_subclassed: Literal["told", "told if taken"]
    # What calls with training=True or False are told where their functional model trains or predicts.
    # Keras 3: functional.py, operation_fn.
    training_of_calls: Literal["their own", "of the model"]
    # Weights are trained where no layer around them is frozen, or where the flag of their own layer says
    # so (and that of the model that is trained). Keras 3: layers/layer.py, trainable_variables.
    trained_weights: Literal["all flags", "own flag"]
    # The same of batch normalisation's moving statistics. tf_keras: batch_normalization.py,
    # _get_training_value.
    moving_statistics: Literal["all flags", "own flag"]
    # Whether weights that are not trained add their penalties to the loss.
    penalty_of_frozen: bool
    # The order of weights of a model in a model.
    weights_of_inner: Literal["trainable first", "by layer"]
    # Whether a Sequential that begins with an Embedding is built at once, for any length. Keras 2 and
    # tf_keras: embedding.py, __init__.
    builds_embedding_first: bool
    # Layers that only an added loss needs become the model's, and are trained. Keras 2: engine/network.py
    # keeps the tensor alone; tf_keras: functional.py, _insert_layers; Keras 3 takes no such tensors.
    losses_bring_layers: bool

    # ---- training

    # The penalty on a layer's outputs is divided by the batch size. Keras 2: engine/base_layer.py, __call__
    # (not divided); tf_keras: base_layer.py, _handle_activity_regularization; Keras 3: layers/layer.py.
    activity_by_sample: bool
    # A weighted loss is divided by the number of weights, or of those that are not zero.
    loss_divides_by: Literal["weights", "nonzero weights"]
    # How often a loss that is one number for the batch counts in reduction="sum": always times the weights,
    # which are 1 for each sample where none are given; or then once. Keras 2.3: training_utils.py,
    # standardize_weights; tf_keras: losses_utils.py; Keras 3: losses/loss.py, reduce_weighted_values.
    sum_of_one_loss: Literal["weighted", "as given"]
    # What the crossentropy of class numbers does with probabilities that do not sum to 1: it clips them, and
    # divides by the sum of that (Keras 2: tensorflow_backend.py, tf_keras: backend.py, where logarithms go
    # through a softmax); or divides first (Keras 3 on JAX: backend/jax/nn.py).
    sparse_probabilities: Literal["clipped first", "divided first"]
    # Whether a crossentropy of what a sigmoid or a softmax gives is of the logits that these were taken of:
    # so it is exact, knows no limits, and means its own function of them. tf_keras: backend.py, _get_logits.
    logits_behind: bool
    # What binary crossentropies take logarithms of, beside 1 - p: probabilities p 1e-7 from both ends, or as
    # much more. tf_keras: backend.py, binary_crossentropy (Keras 2.3 too, whose manual has the first).
    binary_logarithms: Literal["of p", "of p + epsilon"]
    # Whether hinges take labels of 0 and 1 for -1 and 1. Keras 2.3: losses.py, _maybe_convert_labels.
    hinge_labels: Literal["as given", "0 is -1"]
    # What class_weight counts beside sample_weight. Keras 2.2: training_utils.py, standardize_weights.
    class_weight_beside: Literal["nothing", "factor"]
    # A weighted metric is weighed as a loss is, and its mean over samples reported; or is the sum of weighted
    # values over that of all weights. Keras 2.2: training.py, handle_metrics (weighted_masked_objective);
    # 2.3: metrics.py, Reduce.
    weighted_metrics: Literal["as losses", "by weights"]
    # Over how many classes labels of a categorical crossentropy are smoothed: the size of which axis. Keras
    # 2: losses.py (shape[1]); tf_keras: categorical_crossentropy; Keras 3: losses/losses.py (shape[-1]).
    smoothed_over: Literal["axis 1", "the classes", "the last axis"]
    # Whether metrics.SparseCategoricalCrossentropy leaves what is of ignore_class out of its mean, or counts
    # it as 0 where there are no weights. tf_keras: base_metric.py, MeanMetricWrapper; Keras 3:
    # reduction_metrics.py, reduce_to_samplewise_values.
    ignored_class: Literal["left out", "zero"]
    # The dtype in which IoU metrics count, weights too, unless one is given. Keras 3: iou_metrics.py.
    overlaps_counted: Literal["floatx", "int32"]
    # Whether [n, time] weights say by themselves that steps have weights (else: sample_weight_mode).
    step_weights_by_shape: bool
    # What add_loss makes of tensors: their sum, which tf.keras reports as a mean, or their mean. Keras 2.3.1:
    # training.py, _prepare_total_loss; tf_keras: compile_utils.py, LossesContainer; Keras 3: trainer.py.
    added_losses: Literal["sums", "means", "told as means"]
    # How labels [n] come to metrics of the script's own: as [n, 1], beside outputs [n, 1], or so. tf_keras:
    # data_adapter.py, expand_1d; Keras 3: CompileMetrics.update_state.
    metrics_see_labels: Literal["as outputs", "as given"]
    # Whether batches of an object that does not say how many it has are all that it gives. tf_keras:
    # data_adapter.py, DataHandler; Keras 3: epoch_iterator.py.
    unknown_steps: bool
    # Whether each evaluation and prediction takes batches of a sequence, or of what can be iterated again,
    # from the first one on, and ends with them; or goes on where the one before ended, round and round.
    # tf_keras: data_adapter.py, DataHandler.enumerate_epochs; Keras 3: EpochIterator.reset, in `evaluate`.
    evaluations_begin_anew: bool
    # Whether a batch that is a list is (x, y, sample_weight), as a tuple is, where predictions are asked for;
    # or the list of inputs. tf_keras and Keras 3: unpack_x_y_sample_weight.
    lists_are_batches: bool
    # A mask makes a metric the mean over steps of a batch, whose mean over samples is reported; or weighs.
    mask_weighs_metrics: bool
    # What a metric's value that is one for a batch counts for: its samples, or once (where a mask weighs, the
    # steps it leaves). Keras 2.2: training_arrays.py, test_loop; 2.3 and its successors: metrics.py, Reduce.
    batch_values: Literal["for samples", "once"]
    # Whether metrics that keep a state are given the mask, as weights. tf_keras: compile_utils.py,
    # MetricsContainer.update_state; Keras 3: CompileMetrics.update_state (none).
    mask_weighs_states: bool
    # "accuracy" is chosen by the loss first, or by the shapes of labels and outputs alone.
    accuracy_by: Literal["loss", "shapes"]
    # What binary accuracy compares: the output rounded, or whether it is above the threshold. Keras 2:
    # metrics.py, binary_accuracy.
    binary_accuracy: Literal["rounded", "threshold"]
    # Whether it gives a value for each element, or the mean over the last axis. Keras 3:
    # accuracy_metrics.py, binary_accuracy.
    binary_accuracy_of: Literal["last axis", "elements"]
    # What metrics.Mean counts: elements of all batches, or samples, each with the mean of its elements.
    # Keras 2.3: metrics.py, Reduce; tf_keras: base_metric.py, Reduce; Keras 3: reduction_metrics.py.
    means_count: Literal["elements", "samples"]
    # When train_on_batch and test_on_batch begin values over several batches anew (reset_metrics): with the
    # batch, or after it. Keras 2.3 and tf_keras: training.py, train_on_batch.
    batch_metrics_reset: Literal["after", "before"]
    # The sign of the metric "cosine_proximity". Keras 2.2: metrics.py has the loss; 2.3: cosine_proximity.
    cosine_proximity: Literal["minus", "plus"]
    # The name of a metric given as text: that text (of a class, in tf_keras: the name of its object), or
    # "acc" and the function's own.
    metric_names: Literal["given", "given function", "own"]
    # Whether names of weighted_metrics begin with "weighted_", or only those that are taken.
    # tf_keras: compile_utils.py, MetricsContainer._set_metric_names; Keras 3: CompileMetrics.result.
    weighted_prefix: Literal["always", "if taken"]
    # The order of the metrics of several outputs. Keras 3: Trainer._flatten_metrics_in_order.
    metrics_order: Literal["by output", "by name"]
    # Names of metric objects have that of their output in them already, as a model was trained (tf_keras).
    metric_objects_renamed: bool
    # What a list of metrics means for a model of several outputs: each metric is one of every output, or each
    # entry is of one output (Keras 3: CompileMetrics._build_metrics_set).
    metrics_list: Literal["each for all", "by output"]
    # Whether the loss of the only output that has one is reported by its own name too.
    lone_loss_reported: bool
    # What becomes of a model that has no loss at all, also none that layers add. Keras 2: training.py,
    # compile; tf_keras: Optimizer.compute_gradients finds none, tests go on; Keras 3: Trainer.compute_loss
    # (on JAX; on TensorFlow it is neither trained nor tested).
    without_loss: Literal["refused", "not trained", "zero"]
    # What becomes of trained weights on which the loss does not depend: they stay as they are, or have a
    # gradient of zeros, so that they decay and have slots, and a model of them alone trains. Keras 3 on JAX,
    # where jax.grad gives zeros: backend/jax/trainer.py. (On TensorFlow there is no gradient.)
    missing_gradients: Literal["left out", "zeros"]
    # What becomes of metrics of an output without a loss. Keras 2: training.py, skip_target_indices.
    metrics_without_loss: Literal["left out", "computed"]
    # class_weight without some of the classes: is refused, must be of classes 0 to n - 1 (tf_keras:
    # data_adapter.py, _make_class_weight_map_fn), or gives the others 1 (Keras 3: data_adapter_utils.py).
    classes_without_weight: Literal["refused", "from 0 on", "weigh 1"]

    # ---- callbacks

    # EarlyStopping brings the best weights back where it stops the training, or whenever training ends;
    # those of the first epoch are the best until others are. Keras 2: callbacks.py, on_epoch_end; tf_keras
    # 2.21: callbacks.py, on_train_end; Keras 3: early_stopping.py, on_train_end.
    best_weights_back: Literal["when stopped", "at the end"]
    # A baseline is the value to be better than, from the start; or what restarts the patience, beside the
    # best value. tf_keras and Keras 3: EarlyStopping.on_epoch_end.
    baseline: Literal["as best", "beside best"]
    # Whether EarlyStopping may stop after the first epoch.
    first_epoch_stops: bool
    # What EarlyStopping(mode="auto") takes for better when larger: a name with "acc" in it, or that ends so
    # (or in "auc"), or a metric of which Keras knows it. Keras 3: monitor_callback.py.
    monitored_up: Literal["acc inside", "acc at the end", "by metric"]

    # The logs of a batch have its own values, with "batch" and "size"; or the averages so far of the metrics
    # beside these (Keras 2.3: metrics.py, Reduce); or averages alone, and then those of the last epoch come
    # at the end of the training too. tf_keras and Keras 3: Trainer.fit.
    batch_logs: Literal["of the batch", "averages of metrics", "averages"]
    # Whether a `compile` without a loss, or without metrics, has those of the one before. Keras 3:
    # Trainer.compile; the others forget them.
    compiled_again: Literal["anew", "keeps what is None"]
    # Where the values of the validation stand in the logs of an epoch, and so in a History. Keras 2:
    # training_arrays.py, fit_loop; tf_keras and Keras 3: Trainer.fit.
    validation_logs: Literal["first", "last"]
    # ModelCheckpoint(save_best_only=True) without a value to compare: the model is saved or not. Keras 3:
    # model_checkpoint.py, _should_save_model.
    checkpoint_without_value: Literal["skipped", "saved"]
    # Whether CSVLogger has columns for a validation, also where none took place in the first epoch. tf_keras
    # and Keras 3: CSVLogger.on_epoch_end.
    validation_columns: bool
    # TensorBoard writes the values of training and validation to one folder, or to one for each, with
    # "epoch_" before their names. tf_keras and Keras 3: TensorBoard.on_epoch_end.
    boards: Literal["one folder", "two folders"]

    # ---- optimizers

    # Whether optimizers take lr and decay. Keras 3: optimizers/base_optimizer.py, __init__.
    old_optimizer_options: bool
    # clipnorm limits the norm of all gradients together, or of each.
    clipnorm: Literal["together", "each"]
    # Whether limits are of an Embedding's gradient, or of the values that are added up to it, one for each
    # place of a batch that names a row; or norms of the gradient, and clipvalue of values. TensorFlow:
    # clip_ops.py, of IndexedSlices; Keras 2: optimizers.py, get_gradients; Keras 3 on JAX: base_optimizer.py.
    limited_rows: Literal["summed", "each", "each by value"]
    # Whether rows of an Embedding that a batch does not name move by what is kept of batches before, or stay
    # as they are, with that. tf_keras: optimizers/legacy, _resource_apply_sparse.
    rows_left_out: Literal["move", "stay"]
    # sqrt(a + epsilon), or sqrt(a) + epsilon, in RMSprop and Adagrad.
    epsilon: Literal["inside", "outside"]
    # Whether Nadam's momentum follows schedule_decay (else as if that were 1).
    nadam_schedule_decay: bool
    # Whether the moving average of use_ema begins with the weights before the first step, or after it.
    # Keras 3: base_optimizer.py, _update_model_variables_moving_average; tf_keras: optimizer.py, build.
    average_begins: Literal["before", "after"]
    # In which order the variables of an optimizer are listed: slot by slot over weights, or weight by weight,
    # in Keras 3 with the learning rate. tf_keras: optimizer.py, variables; Keras 3: base_optimizer.py.
    optimizer_variables: Literal["by slot", "by variable", "with the rate"]
    # Where exclude_from_weight_decay looks for its patterns: in names with their layer's, or without.
    decay_excludes: Literal["names", "own names"]

    # ---- functions of K

    # Whether the axes of both that K.batch_dot does not sum over are paired, as matrices are multiplied, or
    # all stand beside each other. Keras 2.2: tensorflow_backend.py, batch_dot (tf.matmul); later: the same.
    batch_dot: Literal["paired", "all"]
    # The dtype of K.zeros_like and K.ones_like of whole numbers. Keras 2.3: tensorflow_backend.py.
    likes: Literal["of x", "floatx"]


VINTAGES = ("keras2.2", "keras2", "tf_keras2.10", "tf_keras", "keras3")
DEFAULT = "keras2"  # of what no file or library made
LEGACY_OPTIMIZERS = "tf_keras2.10"

TABLE: dict[str, tuple[Any, ...]] = {
    # question: keras2.2, keras2, tf_keras2.10, tf_keras, keras3
    "unsupported_mask": ("raises", "raises", "dropped", "dropped", "dropped"),
    "one_mask_for_all": (True, True, False, False, False),
    "merged_masks": ("all", "all", "all", "all", "any"),
    "merges_leave_out_masked": (False, False, False, False, True),
    "given_masks_go_on": (False, False, True, True, True),
    "operators_keep_masks": (True, True, False, False, False),
    "attention_takes_masks": (False, False, False, False, True),
    "merges_one": (False, False, True, True, True),
    "mask_with_initial_state": (True, True, True, True, False),
    "masked_output": ("first state", "previous output", "previous output", "previous output", "last cell's"),
    "bidirectional_zeros_masked": (False, False, True, True, True),
    "initial_states": ("zeros", "zeros", "of a dtype", "of a dtype", "of a size"),
    "constants_in_build": (True, True, False, False, False),
    "time_distributed": ("rows", "rows", "rows", "rows", "steps"),
    "mask_runs_models": (False, False, True, True, False),
    "layers_cast_floats": (False, False, True, True, True),
    "hard_sigmoid": ("x / 5", "x / 5", "x / 5", "x / 5", "x / 6"),
    "bilinear": ("corners", "corners", "middles", "middles", "middles"),
    "frozen_batch_norm": ("batch", "batch", "moving", "moving", "moving"),
    "batch_norm_counts_masked": ("yes", "yes", "if fused", "if fused", "no"),
    "moving_variance": ("twice if fused", "twice if fused", "once if fused", "once if fused", "biased"),
    "moving_averages": ("debiased", "plain", "plain", "plain", "plain"),
    "masked_scores": ("left out", "left out", "lowered", "lowered", "left out"),
    "softmax_mask": ("ignored", "ignored", "lowered", "lowered", "left out"),
    "projections_penalised": (True, True, False, False, True),
    "einsum_fans": ("of the equation", "of the equation", "of the shape", "of the shape", "of the equation"),
    "vector_fans": ("root", "root", "size", "size", "size"),
    "smallest_norm": ("1e-6", "1e-6", "1e-6", "1e-6", "1e-12"),
    "identity_keeps_masks": (True, True, False, False, True),
    "normalized_axes": ("sorted", "sorted", "as given", "as given", "sorted"),
    "scaling_keeps_masks": (True, True, False, False, True),
    "group_norm_mask": ("goes on", "goes on", "counts", "counts", "goes on"),
    "spectral_kernel": ("of the step", "of the step", "assigned", "assigned", "of the step"),
    "resized_integers": ("floats", "floats", "floats", "floats", "stay"),
    "seeds": ("any", "any", "any", "any", "of 32 bits"),
    "crops": (*["what fits"] * 4, "what is larger"),
    "flips": ("apart", "apart", "apart", "apart", "together"),
    "contrast": (*["of the batch"] * 4, "of each sample"),
    "categories_out_of_range": (*["an error"] * 4, "in none"),
    "quantiles": ("first", "first", "first", "first", "last"),
    "loose_tokens": (*["of a batch"] * 4, "each"),
    "identity": ("tiled", "gates tiled", "diagonal", "diagonal", "diagonal"),
    "trainable_of_model": ("own", "own", "each layer", "each layer", "each layer"),
    "layers_in_layers": ("none", "attributes", "nested by key", "nested by key", "nested"),
    "training_of_subclassed": (*["told"] * 4, "told if taken"),
    "training_of_calls": (*["their own"] * 4, "of the model"),
    "trained_weights": ("all flags", "all flags", "all flags", "all flags", "own flag"),
    "moving_statistics": ("all flags", "all flags", "own flag", "own flag", "own flag"),
    "penalty_of_frozen": (True, True, True, True, False),
    "weights_of_inner": ("trainable first", "trainable first", "by layer", "by layer", "by layer"),
    "builds_embedding_first": (True, True, True, True, False),
    "losses_bring_layers": (False, False, True, True, True),
    "activity_by_sample": (False, False, True, True, True),
    "sum_of_one_loss": ("weighted", "weighted", "as given", "as given", "as given"),
    "loss_divides_by": ("nonzero weights", "nonzero weights", "weights", "weights", "weights"),
    "sparse_probabilities": (*["clipped first"] * 4, "divided first"),
    "logits_behind": (False, False, True, True, False),
    "binary_logarithms": ("of p", "of p", "of p + epsilon", "of p + epsilon", "of p"),
    "hinge_labels": ("as given", "0 is -1", "0 is -1", "0 is -1", "0 is -1"),
    "class_weight_beside": ("nothing", "factor", "factor", "factor", "factor"),
    "weighted_metrics": ("as losses", "by weights", "by weights", "by weights", "by weights"),
    "smoothed_over": ("axis 1", "axis 1", "the classes", "the classes", "the last axis"),
    "ignored_class": (*["left out"] * 4, "zero"),
    "overlaps_counted": (*["floatx"] * 4, "int32"),
    "step_weights_by_shape": (False, False, True, True, True),
    "added_losses": ("sums", "means", "told as means", "told as means", "sums"),
    "metrics_see_labels": (*["as outputs"] * 4, "as given"),
    "unknown_steps": (False, False, True, True, True),
    "evaluations_begin_anew": (False, False, True, True, True),
    "lists_are_batches": (False, False, True, True, True),
    "mask_weighs_metrics": (False, True, True, True, True),
    "batch_values": ("for samples", "once", "once", "once", "once"),
    "mask_weighs_states": (False, True, True, True, False),
    "accuracy_by": ("loss", "loss", "shapes", "shapes", "shapes"),
    "binary_accuracy": ("rounded", "rounded", "threshold", "threshold", "threshold"),
    "binary_accuracy_of": (*["last axis"] * 4, "elements"),
    "means_count": (*["elements"] * 4, "samples"),
    "batch_metrics_reset": ("after", "after", "before", "before", "after"),
    "cosine_proximity": ("minus", "plus", "plus", "plus", "plus"),
    "metric_names": ("own", "own", "given function", "given function", "given"),
    "weighted_prefix": ("always", "always", "if taken", "if taken", "if taken"),
    "metrics_order": ("by output", "by output", "by output", "by output", "by name"),
    "metric_objects_renamed": (False, False, True, True, False),
    "metrics_list": ("each for all", "each for all", "each for all", "each for all", "by output"),
    "lone_loss_reported": (True, True, True, True, False),
    "without_loss": ("refused", "refused", "not trained", "not trained", "zero"),
    "missing_gradients": ("left out", "left out", "left out", "left out", "zeros"),
    "metrics_without_loss": ("left out", "left out", "computed", "computed", "computed"),
    "classes_without_weight": ("refused", "refused", "from 0 on", "from 0 on", "weigh 1"),
    "best_weights_back": ("when stopped", "when stopped", "when stopped", "at the end", "at the end"),
    "baseline": ("as best", "as best", "beside best", "beside best", "beside best"),
    "first_epoch_stops": (True, True, False, False, False),
    "monitored_up": ("acc inside", "acc inside", "acc at the end", "acc at the end", "by metric"),
    "batch_logs": ("of the batch", "averages of metrics", "averages", "averages", "averages"),
    "compiled_again": (*["anew"] * 4, "keeps what is None"),
    "validation_logs": ("first", "first", "last", "last", "last"),
    "checkpoint_without_value": ("skipped", "skipped", "skipped", "skipped", "saved"),
    "validation_columns": (False, False, True, True, True),
    "boards": ("one folder", "one folder", "two folders", "two folders", "two folders"),
    "old_optimizer_options": (True, True, True, True, False),
    "clipnorm": ("together", "together", "each", "each", "each"),
    "limited_rows": ("each by value", "each by value", "each", "each", "summed"),
    "rows_left_out": ("move", "move", "stay", "move", "move"),
    "epsilon": ("outside", "outside", "outside", "inside", "inside"),
    "nadam_schedule_decay": (True, True, True, False, False),
    "average_begins": ("before", "before", "before", "before", "after"),
    "optimizer_variables": (*["by slot"] * 3, "by variable", "with the rate"),
    "decay_excludes": ("names", "names", "names", "names", "own names"),
    "batch_dot": ("paired", "all", "all", "all", "all"),
    "likes": ("of x", "floatx", "of x", "of x", "of x"),
}

_RECORDS = {
    vintage: Semantics(vintage, **{question: answers[k] for question, answers in TABLE.items()})
    for k, vintage in enumerate(VINTAGES)
}


def semantics(vintage: str) -> Semantics:
    """The answers of a vintage. Raises KeyError for a name that is none."""
    return _RECORDS[vintage]


def vintage_of_version(version: tuple[int, ...], tf: bool = False) -> str:
    """The vintage of a version of Keras; tf: of tf.keras, whose own version that is."""
    if version >= (3,):
        return "keras3"
    if tf:
        return "tf_keras" if version >= (2, 11) else "tf_keras2.10"
    return "keras2" if version >= (2, 3) else "keras2.2"
