"""What a benchmark runs in a process of its own: servers, loads, peers, a kernel."""
