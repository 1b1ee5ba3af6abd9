// Package agent is the first process of the lab's dom0.
//
// It sets up what a control domain needs (file systems, Xen's device modules,
// xenstored, xenconsoled), announces itself on the second serial port (Ready), and
// then carries out the jobs that arrive there, one at a time, with bench/dom0. The
// other end of the line is bench/labhost, on the machine that runs the emulator.
//
// The agent is silent while it waits for a job. The lab is saved in that state, and
// its behaviour after a restore must depend on the job alone.
package agent
