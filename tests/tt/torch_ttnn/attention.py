"""The part of the table for attention: heads, rotary embedding, paged caches, scaled dot products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

_TILE: Final = 32


def create_heads(
    x: torch.Tensor, *, num_heads: int, num_kv_heads: int, transpose_k_heads: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[batch, 1, n, (heads + 2 kv heads) x width] → [batch, heads, n, width] for queries, keys, values."""
    batch, _, length, _ = x.shape
    heads = x.reshape(batch, length, num_heads + 2 * num_kv_heads, -1).transpose(1, 2)
    query, key, value = heads.split([num_heads, num_kv_heads, num_kv_heads], 1)
    return query, (key.mT if transpose_k_heads else key), value


def create_heads_decode(
    x: torch.Tensor, *, num_heads: int, num_kv_heads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[1, 1, rows, (heads + 2 kv heads) x width] → [1, rows, heads, width] for queries, keys, values."""
    heads = x.reshape(1, x.shape[2], num_heads + 2 * num_kv_heads, -1)
    query, key, value = heads.split([num_heads, num_kv_heads, num_kv_heads], 2)
    return query, key, value


def concat_heads(x: torch.Tensor) -> torch.Tensor:
    """[batch, heads, n, width] → [batch, 1, n, heads x width]."""
    batch, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(batch, 1, length, heads * width)


def concat_heads_decode(x: torch.Tensor, *, num_heads: int) -> torch.Tensor:
    """[1, rows, heads, width] → [1, 1, rows, heads x width]; heads may be padded to a tile, rows become one."""
    rows, width = x.shape[1], x.shape[3]
    joined = x[:, :, :num_heads].reshape(1, 1, rows, num_heads * width)
    return torch.nn.functional.pad(joined, (0, 0, 0, -rows % _TILE))


def rotary(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    transformation: torch.Tensor,
    *,
    is_decode_mode: bool = False,
) -> torch.Tensor:
    """x * cos + (x @ transformation) * sin, with a matrix of one tile for each 32 of the width.

    Prefill: x [batch, heads, n, width], tables [1, 1, n, width] or longer. Decode: x [1, rows, heads, width], tables
    [1, rows, 1, width]; several copies of the matrix, one for each core.
    """
    if not is_decode_mode:
        cos, sin = cos[:, :, : x.shape[2]], sin[:, :, : x.shape[2]]
    matrix = transformation.reshape(-1, _TILE)[:_TILE]
    turned = (x.unflatten(-1, (-1, _TILE)) @ matrix).flatten(-2)
    return x * cos + turned * sin


def rotary_pair(
    query: torch.Tensor,
    key: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    transformation: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rotary` in decode for queries and keys; the tables hold the rows of the queries, then those of the keys."""
    rows = query.shape[1]
    halves = [(table[:, :rows], table[:, rows : 2 * rows]) for table in (cos, sin)]
    (query_cos, key_cos), (query_sin, key_sin) = halves
    return (
        rotary(query, query_cos, query_sin, transformation, is_decode_mode=True),
        rotary(key, key_cos, key_sin, transformation, is_decode_mode=True),
    )


def fill_paged_cache(
    cache: torch.Tensor, x: torch.Tensor, page_table: torch.Tensor, *, batch_idx: int = 0
) -> None:
    """Write x [1, kv heads, n, width] to the pages of row `batch_idx`; pages below 0 are left out.

    cache: [pages, kv heads, positions of a page, width]; page_table: [rows, pages of a row].
    """
    size = cache.shape[2]
    for index, page in enumerate(page_table[batch_idx].tolist()):
        part = x[0, :, index * size : (index + 1) * size]
        if page >= 0 and part.shape[1]:
            cache[page, :, : part.shape[1]] = part


def update_paged_cache(
    cache: torch.Tensor,
    x: torch.Tensor,
    *,
    update_idxs_tensor: torch.Tensor,
    page_table: torch.Tensor,
) -> None:
    """Write x [1, rows, kv heads, width] at each row's position; rows with a position below 0 are left out."""
    size, heads = cache.shape[2], cache.shape[1]
    for row, position in enumerate(update_idxs_tensor.reshape(-1).tolist()):
        if position >= 0:
            cache[page_table[row, position // size], :, position % size] = x[0, row, :heads]


def update_paged_caches(
    keys: torch.Tensor, key: torch.Tensor, values: torch.Tensor, value: torch.Tensor, **where: torch.Tensor
) -> None:
    update_paged_cache(keys, key, **where)
    update_paged_cache(values, value, **where)


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    is_causal: bool = True,
    attn_mask: torch.Tensor | None = None,
    scale: float | None = None,
    sliding_window_size: int | None = None,
    start: int = 0,
) -> torch.Tensor:
    """query [batch, heads, n, width] over keys [batch, kv heads, m, width]; query i is at position start + i."""
    if is_causal:
        assert attn_mask is None
        attn_mask = _visible(query.shape[2], keys.shape[2], start, sliding_window_size)
    return torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=attn_mask, scale=scale, enable_gqa=True
    )


def _visible(queries: int, positions: int, start: int, window: int | None) -> torch.Tensor:
    """Which positions each query sees: its own and those before, at most `window` of them."""
    at = torch.arange(start, start + queries)[:, None]
    behind = at - torch.arange(positions)
    seen = behind >= 0
    return seen if window is None else seen & (behind < window)


def attend_chunk(
    input_tensor_q: torch.Tensor,
    input_tensor_k: torch.Tensor,
    input_tensor_v: torch.Tensor,
    page_table_tensor: torch.Tensor,
    chunk_start_idx: int | None = None,
    *,
    chunk_start_idx_tensor: torch.Tensor | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """The queries of a chunk [1, heads, n, width] over the paged cache up to its end."""
    start = int(chunk_start_idx_tensor) if chunk_start_idx_tensor is not None else chunk_start_idx
    assert start is not None
    until = start + input_tensor_q.shape[2]
    keys, values = (
        _pages(cache, page_table_tensor[0], until)[None] for cache in (input_tensor_k, input_tensor_v)
    )
    return attend(input_tensor_q, keys, values, scale=scale, start=start)


def attend_decode(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    page_table_tensor: torch.Tensor,
    cur_pos_tensor: torch.Tensor,
    scale: float | None = None,
    sliding_window_size: int | None = None,
) -> torch.Tensor:
    """query [1, rows, heads, width] at each row's position over the paged cache. Rows below position 0 become 0."""
    output = torch.zeros_like(query)
    for row, position in enumerate(cur_pos_tensor.reshape(-1).tolist()):
        if position < 0:
            continue
        key, value = (_pages(cache, page_table_tensor[row], position + 1)[None] for cache in (keys, values))
        output[0, row] = attend(
            query[:, row, :, None],
            key,
            value,
            scale=scale,
            sliding_window_size=sliding_window_size,
            start=position,
        )[0, :, 0]
    return output


def _pages(cache: torch.Tensor, row: torch.Tensor, until: int) -> torch.Tensor:
    """[kv heads, until, width]: the first positions of the row with these pages."""
    size = cache.shape[2]
    pages = row[: -(-until // size)].long()
    return cache[pages].transpose(0, 1).flatten(1, 2)[:, :until]


ATTENTION: Final[Mapping[str, Callable[..., Any]]] = {
    "experimental.nlp_create_qkv_heads": create_heads,
    "experimental.nlp_create_qkv_heads_decode": create_heads_decode,
    "experimental.nlp_concat_heads": concat_heads,
    "experimental.nlp_concat_heads_decode": concat_heads_decode,
    "experimental.rotary_embedding_llama": rotary,
    "experimental.rotary_embedding_llama_fused_qk": rotary_pair,
    "transformer.scaled_dot_product_attention": attend,
    "transformer.chunked_scaled_dot_product_attention": attend_chunk,
    "transformer.paged_scaled_dot_product_attention_decode": attend_decode,
    "experimental.paged_fill_cache": fill_paged_cache,
    "experimental.paged_update_cache": update_paged_cache,
    "experimental.paged_fused_update_cache": update_paged_caches,
}
