// Package linux reads a Linux guest from outside: its page tables, and proof
// that the symbols at hand belong to the kernel that runs.
//
// It needs two things of the caller: physical memory (Memory, which a driver
// provides) and symbols (a function from names to addresses). Everything read is
// guest memory and may be garbage.
package linux
