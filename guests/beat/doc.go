// Package beat defines the one page of guest memory that the guest's PID 1
// (guests/init) shares with the trial in dom0 (bench/trial). The guest writes
// heartbeats and counts of work to it; dom0 writes the workload that it wants and
// its requests.
//
// The guest allocates the page, locks it in memory and publishes its frame number
// in xenstore under data/hangbench. dom0 maps the frame. No console and no network
// are involved. The ground truth of a trial (does userland still run on this vCPU?)
// therefore costs the guest one store a beat, and dom0 one load.
//
// The page is guest memory and therefore hostile. dom0 compares and subtracts the
// values it reads; it never uses them as an index or a length.
package beat
