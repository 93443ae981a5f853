"""What the server does when something goes wrong: forty faults, injected into a real one. `make faults`."""
