"""Rows of the table of options for layers that prepare data."""

from __future__ import annotations

from option_rows import ANY, MASKED, Row

PREPROCESSING = (
    Row(
        "Rescaling",
        (4, 3),
        {"scale": 0.5},
        {
            **ANY,
            **MASKED,
            "scale": (2, [1.0, 2.0, 0.5]),
            "offset": (-1.0, [0.1, 0.2, 0.3]),
            "shape": ((5, 4, 3),),
        },
    ),
    Row(
        "Normalization",
        (4, 3),
        {},
        {
            **ANY,
            **MASKED,
            "axis": (-1, 1, None, (1, 2), [2]),
            "invert": (True,),
            "shape": ((1,), (257,), (5, 4, 3)),
        },
        lambda o: o.get("axis", -1) not in (-1, None, 1) and len(o["shape"]) < 2,
    ),
)
