#!/usr/bin/env python3
"""Losses of training and their gradients by PyTorch in float64, from the formulas of their papers.

usage: tools/make_goldens/training_losses.py OUT.safetensors [--seed N]

Written with torch's own softmax, kl_div, topk and autograd, not from our code:
balance       DeepSeek-V3 (17)-(20), with sqrt(softplus) scores
indexer       DeepSeek-V3.2: KL(p || softmax(I)), p attention summed over heads and L1-normalised
distillation  KL over a teacher's k likeliest tokens and all others as one event, times T^2
tests/data/training_losses.safetensors was made with --seed 20261126. Needs: pip install torch safetensors numpy.
"""
import argparse
import pathlib
import random

import numpy
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

PIECES = [(0, 5, 2.0), (5, 8, 0.5)]  # first row, number of rows, weight


def balance(draw, out):
    experts, chosen = 6, 2
    logits = draw(13, experts, scale=2).requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for first, rows, weight in PIECES:
        scores = F.softplus(logits[first:first + rows]).sqrt()
        shares = scores / scores.sum(-1, keepdim=True)
        picked = F.one_hot(scores.topk(chosen, dim=-1).indices, experts).sum(1).double()
        loss = loss + weight * (picked.mean(0) * experts / chosen * shares.mean(0)).sum()
    loss.backward()
    out |= {"balance.logits": logits, "balance.loss": loss, "balance.d_logits": logits.grad}


def indexer(draw, out):
    heads, width, index_heads, index_width, rows = 3, 4, 2, 5, 6
    tokens = sum(rows for _, rows, _ in PIECES)
    query, window, blocks = draw(tokens, heads, width), draw(tokens, width), draw(rows, width)
    sink = draw(heads).float().double()  # parameters are fp32 numbers
    index_query = draw(tokens, index_heads, index_width).requires_grad_()
    weight = draw(tokens, index_heads).requires_grad_()
    keys = draw(rows, index_width).requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for first, count, piece_weight in PIECES:
        of_piece = []
        for token in range(first, first + count):
            # Itself and the token before in the window; a block more with every token.
            near = window[max(first, token - 1):token + 1]
            far = blocks[:min(rows, token - first)]
            if len(far) < 2:
                continue
            seen = torch.cat([near, far])
            scores = torch.einsum("hc,sc->hs", query[token], seen) * 0.6
            p = torch.softmax(torch.cat([scores, sink[:, None]], 1), 1)[:, len(near):len(seen)].sum(0)
            p = F.normalize(p, p=1, dim=0).detach()
            products = torch.einsum("hc,sc->hs", index_query[token], keys[:len(far)]).relu()
            log_q = torch.log_softmax(weight[token] @ products, 0)
            of_piece.append(F.kl_div(log_q, p, reduction="sum"))
        loss = loss + piece_weight * sum(of_piece) / count
    loss.backward()
    out |= {"indexer.query": query, "indexer.window": window, "indexer.blocks": blocks, "indexer.sink": sink.float(),
            "indexer.index_query": index_query, "indexer.weight": weight, "indexer.keys": keys, "indexer.loss": loss,
            "indexer.d_index_query": index_query.grad, "indexer.d_weight": weight.grad, "indexer.d_keys": keys.grad}


def distillation(draw, out):
    tokens, width, vocab, k, temperature = 4, 3, 9, 3, 1.5
    x = draw(tokens, width).requires_grad_()
    head = draw(vocab, width).float().double().requires_grad_()
    teacher_head = draw(vocab, width).float()
    teacher = torch.softmax(x.detach() @ teacher_head.double().T / temperature, -1)
    ids = teacher.topk(k, -1).indices
    student = torch.softmax(x @ head.T / temperature, -1)

    def events(probabilities):
        listed = probabilities.gather(-1, ids)
        return torch.cat([listed, 1 - listed.sum(-1, keepdim=True)], -1)

    losses = F.kl_div(events(student).log(), events(teacher), reduction="none").sum(-1) * temperature ** 2
    losses.sum().backward()
    out |= {"distillation.x": x, "distillation.head": head.float(), "distillation.teacher_head": teacher_head,
            "distillation.losses": losses, "distillation.d_x": x.grad, "distillation.d_head": head.grad}


def make(path, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    tensors = {}
    balance(draw, tensors)
    indexer(draw, tensors)
    distillation(draw, tensors)
    save_file({name: numpy.ascontiguousarray(value.detach().numpy()) for name, value in tensors.items()}, str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=random.randrange(2 ** 32))
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed)
    print(f"{arguments.out}: seed {arguments.seed}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
