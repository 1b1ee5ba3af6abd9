package main

import "hangbench/guests/beat"

// polledReads is how often a poller reads its word in one unit.
const polledReads = 1_000_000

// poller reads words of the shared page again and again, as a program does that polls a
// ring of a device. It makes no system call and never gives its vCPU up.
func poller(page *beat.Page, cpu int) error {
	for {
		for range polledReads {
			page.Count(cpu)
		}
		page.Work(cpu)
	}
}
