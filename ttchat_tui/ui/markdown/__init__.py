"""Markdown that grows at its end: source text in, styled rows in bounded chunks out. Pure; knows no widget.

`block_parser` finds the blocks line by line, `inline` styles their text, `leaf_rows` turns a block into rows,
`document` cuts the rows into chunks and says which of them changed, `visual` draws a chunk.
"""
