"""Makes Paddle fast on a CPU: process settings, exact forms of convolutions, optional operators. Depends on no network."""
