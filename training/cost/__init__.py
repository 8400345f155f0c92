"""What a run would cost: steps, memory, time, money, and a measured probe."""
