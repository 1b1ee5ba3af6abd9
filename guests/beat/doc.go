// Package beat is the layout of the one page of guest memory through which the
// guest's PID 1 (guests/init) and the trial in dom0 (bench/trial) see each
// other: heartbeats and work done flow out, the wanted workload flows in.
//
// The guest allocates the page, locks it in memory and publishes its frame
// number in xenstore under data/hangbench; dom0 maps the frame. No console and
// no network are involved, so the ground truth of a trial (does userland still
// run on this vCPU?) costs the guest one store a beat and dom0 one load.
//
// The page is guest memory and therefore hostile: every value read is only
// ever a number that is compared or subtracted, never an index or a length.
package beat
