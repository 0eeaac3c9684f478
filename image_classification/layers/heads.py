"""Splitting tokens into attention heads, and merging them again."""


def split_heads(tokens, heads):                                    # (B, N, D)
    return tokens.reshape([0, 0, heads, tokens.shape[2] // heads]).transpose([0, 2, 1, 3])  # (B, heads, N, D / heads)


def merge_heads(tokens):                                           # (B, heads, N, d)
    return tokens.transpose([0, 2, 1, 3]).flatten(2)               # (B, N, heads * d)
