// Package dom0cmd holds the commands that work in a Xen control domain: watch,
// recover, run on this host, and the part of doctor that asks Xen.
//
// Two programs offer them: the full one (bench/cli) and the small one that is the
// first process of the lab's dom0 (bench/cmd/hangbench-dom0). Each command is a
// struct with its flags: AddFlags defines them on a flag set, Check reports
// mistakes, Run does the work. Errors carry the exit status (bench/exit).
package dom0cmd
