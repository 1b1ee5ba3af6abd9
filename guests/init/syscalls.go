package main

import (
	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// caller makes system calls that do next to nothing.
func caller(page *beat.Page, cpu int) error {
	for {
		for range 1000 {
			unix.Getppid()
		}
		page.Work(cpu)
	}
}
