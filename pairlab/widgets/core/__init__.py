"""What every widget of a lab shares: base class, render loop, frame, view state, time axis."""
