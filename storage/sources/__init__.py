"""Where photos come from: folders, bags, zips, tars, patterns, lists, URLs; and the paper's datasets.

Import `source` to open one. Archives are listed and read member by member, never extracted. May import records.
"""
