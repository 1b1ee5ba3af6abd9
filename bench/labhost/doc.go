// Package labhost runs trials in the lab. For each trial an emulated machine is
// restored from a snapshot in which the trial's guest is up, gets the trial as its job,
// and is discarded.
//
// There are two kinds of snapshots. They are made when they are first needed and kept
// with the lab (guests/lab): dom0 with its agent ready, and, made from that one, dom0
// with a guest up, one for each kind of guest. Restoring gives the same machine to the
// bit, and the job is there before the machine's first instruction. So the record
// depends on lab and trial alone.
//
// Host implements bench/run's Host. Machine is one running lab, for programs, files and
// measurements in its dom0.
package labhost
