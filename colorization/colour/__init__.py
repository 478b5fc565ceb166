"""sRGB ↔ Lab with the only L and ab constants, chroma fit that keeps L, bins, toning, likeness. NumPy or torch.

May import errors.
"""
