"""Tables, messages, figures and the live display: how results and progress are shown."""
