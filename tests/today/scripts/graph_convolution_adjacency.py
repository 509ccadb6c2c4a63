"""Node classification by graph convolutions over a fixed adjacency, in a subclassed GNN."""

import numpy as np

import keras
from keras import layers, ops

num_nodes, num_features, num_classes = 40, 6, 3
rng = np.random.RandomState(0)
labels = rng.randint(0, num_classes, num_nodes)
features = (rng.normal(size=(num_nodes, num_features)) + labels[:, None]).astype("float32")
same = labels[:, None] == labels[None]
edges = np.array(
    [(i, j) for i in range(num_nodes) for j in range(num_nodes) if same[i, j] and rng.rand() < 0.3]
).T
edge_weights = np.ones(edges.shape[1], "float32")
graph_info = (features, edges, edge_weights)


def create_ffn(hidden_units, dropout_rate, name=None):
    fnn_layers = []
    for units in hidden_units:
        fnn_layers.append(layers.BatchNormalization())
        fnn_layers.append(layers.Dropout(dropout_rate))
        fnn_layers.append(layers.Dense(units, activation=keras.activations.gelu))
    return keras.Sequential(fnn_layers, name=name)


class GraphConvLayer(layers.Layer):
    def __init__(self, hidden_units, dropout_rate=0.2, normalize=False, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.normalize = normalize
        self.ffn_prepare = create_ffn(hidden_units, dropout_rate)
        self.update_fn = create_ffn(hidden_units, dropout_rate)

    def prepare(self, node_representations, weights=None):
        messages = self.ffn_prepare(node_representations)
        if weights is not None:
            messages = messages * ops.expand_dims(weights, -1)
        return messages

    def aggregate(self, node_indices, neighbour_messages, node_representations):
        num_nodes = ops.shape(node_representations)[0]
        return ops.segment_sum(neighbour_messages, node_indices, num_segments=num_nodes)

    def update(self, node_representations, aggregated_messages):
        h = ops.concatenate([node_representations, aggregated_messages], axis=1)
        node_embeddings = self.update_fn(h)
        if self.normalize:
            node_embeddings = ops.normalize(node_embeddings, axis=-1)
        return node_embeddings

    def call(self, inputs):
        node_representations, edges, edge_weights = inputs
        node_indices, neighbour_indices = edges[0], edges[1]
        neighbour_representations = ops.take(node_representations, neighbour_indices, axis=0)
        neighbour_messages = self.prepare(neighbour_representations, edge_weights)
        aggregated_messages = self.aggregate(node_indices, neighbour_messages, node_representations)
        return self.update(node_representations, aggregated_messages)


class GNNNodeClassifier(keras.Model):
    def __init__(self, graph_info, num_classes, hidden_units, dropout_rate=0.2, *args, **kwargs):
        super().__init__(*args, **kwargs)
        node_features, edges, edge_weights = graph_info
        self.node_features = ops.convert_to_tensor(node_features)
        self.edges = ops.convert_to_tensor(edges)
        # Scale edge_weights to sum to 1.
        self.edge_weights = edge_weights / ops.sum(edge_weights)
        self.preprocess = create_ffn(hidden_units, dropout_rate, name="preprocess")
        self.conv1 = GraphConvLayer(hidden_units, dropout_rate, normalize=True, name="graph_conv1")
        self.conv2 = GraphConvLayer(hidden_units, dropout_rate, normalize=True, name="graph_conv2")
        self.postprocess = create_ffn(hidden_units, dropout_rate, name="postprocess")
        self.compute_logits = layers.Dense(units=num_classes, name="logits")

    def call(self, input_node_indices):
        x = self.preprocess(self.node_features)
        x1 = self.conv1((x, self.edges, self.edge_weights))
        x = x1 + x
        x2 = self.conv2((x, self.edges, self.edge_weights))
        x = x2 + x
        x = self.postprocess(x)
        node_embeddings = ops.take(x, input_node_indices, axis=0)
        return self.compute_logits(node_embeddings)


gnn_model = GNNNodeClassifier(
    graph_info=graph_info, num_classes=num_classes, hidden_units=[8, 8], dropout_rate=0.5, name="gnn_model"
)
gnn_model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
)
x_train = np.arange(32)
history = gnn_model.fit(x=x_train, y=labels[:32], epochs=5, batch_size=8, verbose=2)
x_test = np.arange(32, 40)
_, test_accuracy = gnn_model.evaluate(x=x_test, y=labels[32:], verbose=0)
print(f"Test accuracy: {round(test_accuracy * 100, 2)}%")
