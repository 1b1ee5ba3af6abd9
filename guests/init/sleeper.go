package main

import (
	"time"

	"hangbench/guests/beat"
)

// sleeper sleeps, and counts a unit of work once a period.
func sleeper(page *beat.Page, cpu int) error {
	for {
		time.Sleep(beat.Period)
		page.Work(cpu)
	}
}
