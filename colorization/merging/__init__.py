"""A gray photo to ab: segmenter, experts, merge, hints. `options` and `segmenter_names` import no torch.

Import `inference` for a whole photo. May import categories, colour, compute, networks.
"""
