"""Losses for `paddle.Model`, whose `fit` and `train_batch` pass all outputs of the network to its loss and metrics."""
from paddle import nn


class AuxiliaryLoss(nn.Layer):
    """(logits (B, classes), labels) -> loss. In training, `weight` times the losses of all auxiliary heads are added.

        model = paddle.Model(network)
        model.prepare(optimizer, AuxiliaryLoss(network), paddle.metric.Accuracy())

    Args:
        network: the network that is trained, made by `create_model`, with or without auxiliary heads.
        loss: (logits, labels) -> loss; by default Paddle's cross entropy.
        weight: of the auxiliary losses; by default TRAIN.AUX_LOSS_WEIGHT of the network's configuration.
    """

    def __init__(self, network, loss=None, weight=None):
        super().__init__()
        self.loss = loss or nn.CrossEntropyLoss()
        self.weight = network.config.TRAIN.AUX_LOSS_WEIGHT if weight is None else weight
        self.networks = [network]                                  # in a list, so that it is not a sublayer
        network.keeps_auxiliary = True

    def forward(self, logits, labels):
        loss, network = self.loss(logits, labels), self.networks[0]
        if network.training:
            loss = loss + self.weight * sum(self.loss(output, labels) for output in network.auxiliary)
        return loss
