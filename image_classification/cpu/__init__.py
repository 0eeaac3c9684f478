"""What makes Paddle fast on a CPU: settings of the process, exact forms of convolutions, optional operators. Knows no network."""
