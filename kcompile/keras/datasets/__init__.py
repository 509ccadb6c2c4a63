"""Data sets that are at hand without a network: `digits`, bundled with the package."""
