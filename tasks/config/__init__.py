"""chromaflow.toml and the parameters of flows: typed, strict, one checker; and what `init` and `demo` write.

Import `model` for the configs and `file` to read one. May import weights (names to paths), colorization's options, storage.
"""
