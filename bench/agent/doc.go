// Package agent is hangbench as the first process of the lab's dom0.
//
// It sets up what a control domain needs (file systems, Xen's device modules,
// xenstored, xenconsoled), says that it is ready on the second serial port, and
// then does the jobs that come in there, one at a time, with bench/dom0. The
// other end of the line is bench/labhost on the machine that runs the emulator.
//
// The agent is silent while it waits for a job: the lab is saved in that state,
// and what it does after a restore must depend on the job alone.
package agent
