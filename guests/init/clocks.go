package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// Ticks of adjtimex in microseconds: the usual one of 100 a second, and the longest that
// the kernel takes, at which its clocks run 10% faster.
const (
	usualTick = 10_000
	longTick  = 11_000
)

// clockChanger moves the wall clock an hour forward, has all clocks but the processor's run
// faster, moves it back, and has them run as before: one of these once a period.
func clockChanger(page *beat.Page, cpu int) error {
	changes := []func() error{
		func() error { return moveClock(jump) },
		func() error { return setTick(longTick) },
		func() error { return moveClock(-jump) },
		func() error { return setTick(usualTick) },
	}
	for n := 0; ; n = (n + 1) % len(changes) {
		if err := changes[n](); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// setTick sets how far the clocks move forward a hundred times a second, in microseconds.
func setTick(us int64) error {
	if _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: us}); err != nil {
		return fmt.Errorf("set the clock's pace: %w", err)
	}
	return nil
}
