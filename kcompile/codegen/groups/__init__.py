"""A fused group taken apart: its elements as expressions, and the epilogue around a contraction."""
