"""Control and telemetry over MQTT."""
