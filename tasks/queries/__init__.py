"""What people ask of a workspace or an output folder: status, lineage, a look at shards, verification of outputs.

Changes nothing. May import archive, config, engine, graph, storage.
"""
