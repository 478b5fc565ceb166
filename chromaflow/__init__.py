"""What all packages stand on; it imports none of them, and nothing but Python's own library."""
