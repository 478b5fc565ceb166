"""How a colorizer learns: recipes, feeding, losses, the loop. `recipes` imports no torch.

May import colour, networks, compute.
"""
