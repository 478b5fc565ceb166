"""What a photo says of itself apart from its pixels: read, carried over, signed. On bytes.

Import `extraction` to read, `derivative` for what a derivative carries. Knows no sources. May import containers.
"""
