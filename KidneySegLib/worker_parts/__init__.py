"""Parts of the child process that the panel talks to: protocol, arrays, lifeline, commands."""
