"""Graphics processors: schedules with grid and block, PTX text, and the launch table."""
