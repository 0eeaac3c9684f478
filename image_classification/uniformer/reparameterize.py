"""UniFormer-Light's token pruning without sorting, for phone engines; see `image_classification/fuse.py`."""
import paddle

from image_classification.uniformer.blocks import scaled
from image_classification.uniformer.light import EvoSABlock

_STEEP = 6e4                                                       # below 65504, the largest number in half precision


def before(scores):
    """The rank of each token, 0 for the best score; equal scores keep their order: (B, N) -> (B, N).

    It uses only differences, because phone engines sort and compare in various ways, or not at all.
    """
    sign = scores.unsqueeze(1) - scores.unsqueeze(2)               # (B, N, N): row i says how much better each other token is
    for _ in range(3):                                             # different scores differ by more than 5e-15
        sign = (sign * _STEEP).clip(-1.0, 1.0)
    place = paddle.arange(scores.shape[1], dtype='float32')
    earlier = (place.unsqueeze(1) - place.unsqueeze(0)).clip(0.0, 1.0)
    return (sign + earlier).clip(0.0, 1.0).sum(2)


class EvoSABlockByProducts(EvoSABlock):
    """Selects the better tokens, and puts them back, by multiplication with a matrix of zeros and ones."""

    def _pruned(self, cls_token, tokens, scores):
        kept, scores = int(tokens.shape[1] * self.keep_ratio), scores.unsqueeze(-1)        # (B, N, 1)
        places = paddle.arange(kept, dtype='float32').unsqueeze(1)
        apart = before(scores.squeeze(-1)).unsqueeze(1) - places   # (B, kept, N), whole numbers
        choice = 1.0 - (apart * apart).clip(0.0, 1.0)            # not abs: Paddle-Lite fuses it with the subtraction and fails
        back = choice.transpose([0, 2, 1])                         # (B, N, kept)
        rest = 1.0 - back.sum(2, keepdim=True)                     # (B, N, 1): 1 where a token is pruned
        weights = scores * rest
        summary = (weights / weights.sum(1, keepdim=True) * tokens).sum(1, keepdim=True)   # (B, 1, C)
        some, attention, added = self._branches(paddle.concat([cls_token, choice @ tokens, summary], 1))
        attention = attention.unsqueeze(-1)                        # (B, kept + 1, 1), the last one for the summary
        kept_scores = choice @ scores
        kept_scores = kept_scores + self.trade_off * (attention[:, :-1] - kept_scores)
        alone = 1 // (tokens.shape[1] - kept)                      # 1 if only one token is pruned, else 0
        scores = scores + self.trade_off * alone * (attention[:, -1:] - scores)
        tokens = back @ some[:, 1:-1] + rest * (tokens + scaled(added, self.gamma_3))
        return some[:, :1], tokens, (back @ kept_scores + rest * scores).squeeze(-1)


def choose_by_products(block):
    block.__class__ = EvoSABlockByProducts


PHONE = {EvoSABlock: choose_by_products}
