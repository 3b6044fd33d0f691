"""What the trainings of generator and encoder share: run folder, monitor, processes, events."""
