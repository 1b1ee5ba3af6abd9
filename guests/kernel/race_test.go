//go:build race

package kernel

// raced says whether the race detector is in the program, which makes it ten times slower.
const raced = true
