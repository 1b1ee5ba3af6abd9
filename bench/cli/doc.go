// Package cli is the command line of hangbench: a tree of commands on
// spf13/cobra, one file for each command. Results go to standard output,
// everything else to standard error.
//
// A command's constructor declares its flags, how the shell completes them, and a
// struct that the flags fill; the struct's run method does the work. Main runs one
// command line on an Env, so that tests need no process. An error says by its type
// who is to blame, and bench/exit makes an exit status of that.
//
// What also works in the lab's dom0 lies below this package, without cobra and
// without the analysis: bench/dom0cmd, bench/run, bench/price.
package cli
