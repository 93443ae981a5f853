"""The weight-free engine: the portrait itself is warped by the driver's facial motion."""
