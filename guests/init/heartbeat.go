package main

import (
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const beaterPart = "beat"

// beater is the heartbeat of one vCPU. Before each beat it asks for dead children,
// as an init does. For that the kernel takes tasklist_lock for reading, so a
// deadlock on this lock stops the heartbeat.
func beater(page *beat.Page, cpu int) error {
	for {
		time.Sleep(beat.Period)
		// It has no children: the result is always ECHILD.
		unix.Wait4(-1, nil, unix.WNOHANG, nil)
		page.Beat(cpu)
	}
}
