// Package outcome tells from a guest's own counters what became of a fault whose effect
// nobody knew before.
//
// A guest has parts that count their progress: the heartbeat and the work of each vCPU,
// canaries, and PID 1, which answers dom0's probe. A [Follower] gets samples of these
// counters from the fault on, and says at any time what has become of the guest: nothing,
// slowed, a part hung, all of it hung, crashed. It never asks a monitor. It has no clock:
// equal samples give equal effects.
//
// [Right] says which classes a verdict may then name, by the parts that stopped and by
// where the vCPUs without a heartbeat were.
package outcome
