package tsc

// Read returns the processor's time-stamp counter.
func Read() uint64
