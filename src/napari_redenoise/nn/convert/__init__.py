"""Conversion of networks to rotation-equivariant ones."""
