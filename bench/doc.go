// Package bench holds no code of its own, only the test of who may import whom.
// The folders below are the experiment:
//
//	cmd/hangbench  the program
//	cli            its commands
//	dom0cmd        those of them that work in a dom0
//	exit           exit statuses and the errors that lead to them
//	plan           a suite's trials in their order
//	run            works a plan off, on a host
//	labhost        the host that is emulated
//	xenhost        the host that is this machine
//	agent          the program inside the emulated host's dom0
//	dom0           guest, monitor and injector by the Xen libraries
//	trial          the way of one trial
//	price          what an event costs, and how many switches a monitor misses
//
// The rules: cgo/* imports the standard library only; monitor and guests never
// each other; analysis only results and libraries; cgo/xenctrl is for the
// drivers, for dom0, and for the commands that say what a host lacks, and
// cgo/libvmi for its driver and the latter.
package bench
