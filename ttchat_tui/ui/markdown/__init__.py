"""Streaming Markdown: source text in, styled rows in bounded chunks out. Independent of widgets.

`block_parser` finds the blocks line by line, `inline` styles their text, `leaf_rows` turns a block into rows,
`document` groups the rows into chunks and reports which changed, `visual` draws a chunk.
"""
