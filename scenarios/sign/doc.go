// Package sign tells from a guest's own counters whether a fault has hung it.
//
// A guest counts its heartbeats, one counter per vCPU, and the units of work that its
// workload has done (guests/beat). A Sign says what these counters do while a fault
// is in place: the heartbeat stops (Silent), the work stops (Stuck), the work becomes
// slow (Slow), the work stops for a while (Held), or the guest ends itself (Ended).
// This is the ground truth of a trial. It never asks the monitor.
//
//	truth := sign.NewTruth(...)      // when the fault lands
//	watch := sc.Sign.Follow(truth)
//	for every Poll {
//		truth.Look(now)
//		shown, since, err := watch.Shown(now)
//	}
//
// Each sign is one file. A new sign is a new file here, and a scenario that names it.
package sign
