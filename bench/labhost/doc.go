// Package labhost runs trials in the lab: for each trial an emulated machine is
// restored from a snapshot in which the trial's guest is up, given the trial as
// its job, and thrown away.
//
// There are two snapshots, made when they are first needed and kept with the lab
// (guests/lab): dom0 with its agent ready, and from that one, for each kind of
// guest, dom0 with the guest up. Restoring gives the same machine to the bit, and
// the job is there before its first instruction: the record depends on lab and
// trial alone.
//
// It implements bench/run's Host. Machine is one running lab, for whoever wants
// to talk to dom0 otherwise.
package labhost
