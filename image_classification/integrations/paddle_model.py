"""Losses for `paddle.Model`, whose `fit` and `train_batch` give a loss and a metric each output of the network."""
from paddle import nn


class AuxiliaryLoss(nn.Layer):
    """(logits (B, classes), labels) -> their loss and, in training, `weight` times the sum of that of each auxiliary head.

        model = paddle.Model(network)
        model.prepare(optimizer, AuxiliaryLoss(network), paddle.metric.Accuracy())

    Args:
        network: a network of `create_model`, with auxiliary heads or without; the one that is trained.
        loss: (logits, labels) -> loss; by default Paddle's cross entropy.
        weight: by default TRAIN.AUX_LOSS_WEIGHT of the network's configuration.
    """

    def __init__(self, network, loss=None, weight=None):
        super().__init__()
        self.loss = loss or nn.CrossEntropyLoss()
        self.weight = network.config.TRAIN.AUX_LOSS_WEIGHT if weight is None else weight
        self.networks = [network]                                  # not a layer of this one
        network.keeps_auxiliary = True

    def forward(self, logits, labels):
        loss, network = self.loss(logits, labels), self.networks[0]
        if network.training:
            loss = loss + self.weight * sum(self.loss(output, labels) for output in network.auxiliary)
        return loss
