"""Codecs, and what works beside them: threads, tables of contents, packing a layer's blob."""
