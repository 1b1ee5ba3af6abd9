// Package cli is the command line of hangbench: one file for each command,
// flags by pflag, results on standard output, everything else on standard error.
//
// A command is a function of an Env and its arguments, so tests run it without
// a process. Errors say who is to blame by their type, and Main makes an exit
// status of that:
//
//	0    done
//	1    ran, but trials failed or a check did not hold
//	2    wrong usage or bad input
//	3    something the host must have is missing
//	4    the infrastructure failed: emulator, disk, network
//	130  interrupted; what was finished is kept and "hangbench resume" goes on
package cli
