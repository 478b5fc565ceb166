"""An archive that is coloured outside of a project: its workflow, whose folder the output is, copies of URLs.

Import `workflow` for `colorize IN OUT`. May import config, engine, storage.
"""
