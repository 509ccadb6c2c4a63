"""Traffic forecasting: graph convolutions by segment sums, means and largest values, and an LSTM."""

import keras
import numpy as np
from keras import layers, ops

r = np.random.RandomState(0)
N, T, H = 6, 8, 2


class GraphInfo:
    def __init__(self, edges, num_nodes):
        self.edges, self.num_nodes = edges, num_nodes


adj = r.rand(N, N) > 0.5
src, dst = np.where(adj)
graph = GraphInfo((src.tolist(), dst.tolist()), N)


class GraphConv(layers.Layer):
    def __init__(
        self,
        in_feat,
        out_feat,
        graph_info,
        aggregation_type="mean",
        combination_type="concat",
        activation=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_feat, self.out_feat, self.graph_info = in_feat, out_feat, graph_info
        self.aggregation_type, self.combination_type = aggregation_type, combination_type
        self.weight = self.add_weight(
            initializer=keras.initializers.GlorotUniform(),
            shape=(in_feat, out_feat),
            dtype="float32",
            trainable=True,
        )
        self.activation = layers.Activation(activation)

    def aggregate(self, neighbour_representations):
        aggregation_func = {"sum": ops.segment_sum, "mean": self.mean, "max": ops.segment_max}.get(
            self.aggregation_type
        )
        if aggregation_func:
            return aggregation_func(
                neighbour_representations,
                np.array(self.graph_info.edges[0]),
                num_segments=self.graph_info.num_nodes,
            )
        raise ValueError(self.aggregation_type)

    def mean(self, data, seg, num_segments):
        s = ops.segment_sum(data, seg, num_segments=num_segments)
        c = (
            np.maximum(np.bincount(seg, minlength=num_segments), 1)
            .astype("float32")
            .reshape(-1, *[1] * (len(data.shape) - 1))
        )
        return s / c

    def compute_nodes_representation(self, features):
        return ops.matmul(features, self.weight)

    def compute_aggregated_messages(self, features):
        neighbour_representations = ops.take(features, np.array(self.graph_info.edges[1]), axis=0)
        aggregated = self.aggregate(neighbour_representations)
        return ops.matmul(aggregated, self.weight)

    def update(self, nodes, agg):
        h = ops.concatenate([nodes, agg], axis=-1) if self.combination_type == "concat" else nodes + agg
        return self.activation(h)

    def call(self, features):
        return self.update(
            self.compute_nodes_representation(features), self.compute_aggregated_messages(features)
        )


class LSTMGC(layers.Layer):
    def __init__(
        self,
        in_feat,
        out_feat,
        lstm_units,
        input_seq_len,
        output_seq_len,
        graph_info,
        graph_conv_params=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.graph_conv = GraphConv(in_feat, out_feat, graph_info, **(graph_conv_params or {}))
        self.lstm = layers.LSTM(lstm_units, activation="relu")
        self.dense = layers.Dense(output_seq_len)
        self.input_seq_len, self.output_seq_len = input_seq_len, output_seq_len

    def call(self, inputs):
        inputs = ops.transpose(inputs, [2, 0, 1, 3])
        gcn_out = self.graph_conv(inputs)
        shape = ops.shape(gcn_out)
        num_nodes, batch_size, input_seq_len, out_feat = shape[0], shape[1], shape[2], shape[3]
        gcn_out = ops.reshape(gcn_out, (batch_size * num_nodes, input_seq_len, out_feat))
        lstm_out = self.lstm(gcn_out)
        dense_output = self.dense(lstm_out)
        output = ops.reshape(dense_output, (num_nodes, batch_size, self.output_seq_len))
        return ops.transpose(output, [1, 2, 0])


x = r.rand(48, T, N, 1).astype("float32")
y = r.rand(48, H, N).astype("float32")
for agg in ("mean", "sum", "max"):
    st = LSTMGC(
        1, 4, 8, T, H, graph, {"aggregation_type": agg, "combination_type": "concat", "activation": None}
    )
    inputs = layers.Input((T, N, 1))
    outputs = st(inputs)
    model = keras.models.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.0002), loss=keras.losses.MeanSquaredError()
    )
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=16,
        validation_data=(x[:16], y[:16]),
        callbacks=[keras.callbacks.EarlyStopping(patience=10)],
        verbose=0,
    )
print(model.predict(x[:2], verbose=0).shape)
