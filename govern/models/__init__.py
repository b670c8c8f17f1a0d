"""Models: identity, loading (whole, or only the needed layers), delta, export."""
