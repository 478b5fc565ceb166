"""Bytes to pixels and back: formats, profiles, limits, and a decoding process of its own.

Import `photo` to decode, `encoding` to write, `reduced` for training, `decoder` for strangers' files.
`codecs` is the table of what each format's own code does.
May import containers, metadata, formats.
"""
