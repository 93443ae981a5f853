"""Reading containers: files and streams, whatever their clocks and shapes."""
