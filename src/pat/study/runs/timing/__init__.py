"""How long runs take: measured steps and images, trials, and what a plan makes of them."""
