"""A network of one's own, made rotation-equivariant."""
