// Package bench holds no code of its own, only tests of which package may import
// which. The folders below are the experiment:
//
//	cmd/hangbench       the program
//	cmd/hangbench-dom0  the small program of the lab's dom0
//	cli                 the program's commands
//	dom0cmd             the commands that work in a dom0, of both programs
//	exit, oldflag       exit statuses, and former names of flags
//	progress            the display of a run, and its log file
//	names               the names that a suite may use
//	plan                a suite's trials in their order
//	run                 runs the trials of a plan on a host
//	labhost             the emulated host
//	xenhost             this machine as a host
//	agent               carries out jobs inside the emulated host's dom0
//	dom0                guests of a dom0, and trials on them
//	trial, observe      one trial, and whoever watches its guest
//	kernelcheck         what can be read of a kernel image
//	reach               records which places of a kernel a guest's work reaches
//	price               cost of an event, and task switches that a monitor misses
//
// The rules: cgo/* imports the standard library only; monitor and guests never import
// each other; analysis imports results and libraries only; cgo/xenctrl is for the
// drivers, for dom0 and price, and for commands that report what a host lacks;
// cgo/libvmi is for its driver and for those commands. The dom0 program links nothing
// of the analysis, the command line or the lab's build.
package bench
