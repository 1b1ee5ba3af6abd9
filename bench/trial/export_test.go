package trial

// What tests of timing need to know.
const (
	Phase    = phase
	WarmUp   = warmUp
	SlowPoll = slowPoll
)
